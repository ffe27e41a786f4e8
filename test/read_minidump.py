"""Prints what the package `minidump` reads in a minidump, as JSON."""
import json
import logging
import sys

from minidump.minidumpfile import MinidumpFile

# It looks for the process environment block of Windows, which no dump of another system has.
logging.disable(logging.CRITICAL)
dump = MinidumpFile.parse(sys.argv[1])
record = dump.exception.exception_records[0]
exception = record.ExceptionRecord
reader = dump.get_reader()


def memory(segment):
    data = reader.read(segment.start_virtual_address, segment.size)
    return {"address": hex(segment.start_virtual_address), "bytes": data.hex()}


print(json.dumps({
    "architecture": dump.sysinfo.ProcessorArchitecture.name,
    "platform": dump.sysinfo.PlatformId.name,
    "processId": dump.misc_info.ProcessId,
    "threads": [thread.ThreadId for thread in dump.threads.threads],
    "exception": {
        "threadId": record.ThreadId,
        "code": exception.ExceptionCode.name,
        "flags": exception.ExceptionFlags,
        "address": hex(exception.ExceptionAddress),
    },
    "modules": [
        {"path": module.name, "base": hex(module.baseaddress), "byteLength": hex(module.size)}
        for module in dump.modules.modules
    ],
    "memory": [memory(segment) for segment in dump.memory_segments.memory_segments],
    "mappings": [
        {"start": hex(info.BaseAddress), "byteLength": hex(info.RegionSize)}
        for info in dump.memory_info.infos
    ],
    "streams": [entry.StreamType.name for entry in dump.directories],
}))
