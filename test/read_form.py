"""Prints the parts of a multipart form on standard input, read strictly, as JSON."""
import hashlib
import io
import json
import sys

from multipart import MultipartParser, parse_options_header

kind, options = parse_options_header(sys.argv[1])
assert kind == "multipart/form-data", kind
body = sys.stdin.buffer.read()
parser = MultipartParser(io.BytesIO(body), options["boundary"], len(body), strict=True)
parts = []
for part in parser:
    parts.append({
        "name": part.name,
        "filename": part.filename,
        "type": part.headers.get("Content-Type"),
        "sha256": hashlib.sha256(part.raw).hexdigest(),
        "text": part.raw.decode("utf-8") if part.filename is None else None,
    })
print(json.dumps(parts))
