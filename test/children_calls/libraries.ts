/** Real libraries: one program for each, which misuses it three ways and then uses it. */
import { strict as assert } from "node:assert";
import { dlopen, type ForeignSymbols } from "../../mod.ts";
import { exceptionOf, openFixture, runCase } from "../support.ts";

const wild = 0x1230n;
const text = new TextEncoder();

function cString(value: string): Uint8Array<ArrayBuffer> {
  return text.encode(`${value}\0`);
}

/** The address of `byteLength` bytes, behind which nothing may be read or written. */
function shortBuffer(byteLength: number): bigint {
  const { symbols } = openFixture();
  const start = symbols.fx_map(8192n, 3);
  assert.equal(symbols.fx_protect(start + 4096n, 4096n, 0), 0);
  return start + 4096n - BigInt(byteLength);
}

/** Each of `misuses` faults in a function of `library`. */
function faults(library: string, ...misuses: readonly (() => unknown)[]): void {
  for (const misuse of misuses) {
    const { info, message } = exceptionOf(misuse);
    assert.match(message, /\w+\(\) of /);
    assert.ok(info.call?.library.includes(library), message);
    assert.ok(info.type === "access-violation" || info.type === "general-protection", message);
  }
}

function open<const S extends ForeignSymbols>(
  path: string,
  symbols: S,
): ReturnType<typeof dlopen<S>>["symbols"] {
  return dlopen(path, symbols).symbols;
}

function zlib(): void {
  const z = open("libz.so.1", {
    crc32: { parameters: ["usize", "buffer", "u32"], result: "usize" },
    crc32At: { name: "crc32", parameters: ["usize", "address", "u32"], result: "usize" },
    compressTo: {
      name: "compress",
      parameters: ["address", "buffer", "buffer", "usize"],
      result: "i32",
    },
    inflateEnd: { parameters: ["address"], result: "i32" },
  });
  faults(
    "libz",
    () => z.crc32At(0n, wild, 100),
    () => z.inflateEnd(wild),
    () => z.crc32At(0n, shortBuffer(16), 5000),
    () => z.compressTo(wild, BigUint64Array.of(100n), new Uint8Array(50), 50n),
  );
  assert.equal(z.crc32(0n, text.encode("hello"), 5), 0x3610a686n);
}

function sqlite(): void {
  const sqlite = open("libsqlite3.so.0", {
    sqlite3_open: { parameters: ["buffer", "buffer"], result: "i32" },
    sqlite3_prepare_v2: {
      parameters: ["address", "buffer", "i32", "buffer", "address"],
      result: "i32",
    },
    prepareAt: {
      name: "sqlite3_prepare_v2",
      parameters: ["address", "address", "i32", "buffer", "address"],
      result: "i32",
    },
    sqlite3_step: { parameters: ["address"], result: "i32" },
    sqlite3_column_int: { parameters: ["address", "i32"], result: "i32" },
    sqlite3_changes: { parameters: ["address"], result: "i32" },
    sqlite3_complete: { parameters: ["address"], result: "i32" },
  });
  faults(
    "libsqlite3",
    () => sqlite.sqlite3_changes(wild),
    () => sqlite.sqlite3_step(wild),
    () => sqlite.sqlite3_complete(wild),
    () => sqlite.sqlite3_column_int(wild, 0),
  );
  const handle = new BigUint64Array(1);
  assert.equal(sqlite.sqlite3_open(cString(":memory:"), handle), 0);
  const statement = new BigUint64Array(1);
  const query = cString("select 6 * 7");
  assert.equal(sqlite.sqlite3_prepare_v2(handle[0]!, query, -1, statement, 0n), 0);
  assert.equal(sqlite.sqlite3_step(statement[0]!), 100);
  assert.equal(sqlite.sqlite3_column_int(statement[0]!, 0), 42);
}

function libxml(): void {
  const xml = open("libxml2.so.2", {
    xmlReadMemory: {
      parameters: ["buffer", "i32", "address", "address", "i32"],
      result: "address",
    },
    xmlReadMemoryAt: {
      name: "xmlReadMemory",
      parameters: ["address", "i32", "address", "address", "i32"],
      result: "address",
    },
    xmlDocGetRootElement: { parameters: ["address"], result: "address" },
    xmlNodeGetContent: { parameters: ["address"], result: "address" },
    xmlChildElementCount: { parameters: ["address"], result: "usize" },
    xmlStrlen: { parameters: ["buffer"], result: "i32" },
    xmlStrlenAt: { name: "xmlStrlen", parameters: ["address"], result: "i32" },
  });
  faults(
    "libxml2",
    () => xml.xmlReadMemoryAt(wild, 100, 0n, 0n, 0),
    () => xml.xmlDocGetRootElement(wild),
    () => xml.xmlNodeGetContent(wild),
    () => xml.xmlReadMemoryAt(shortBuffer(8), 9000, 0n, 0n, 32),
  );
  const bytes = text.encode("<a><b/><c/></a>");
  const document = xml.xmlReadMemory(bytes, bytes.length, 0n, 0n, 0);
  assert.equal(xml.xmlChildElementCount(xml.xmlDocGetRootElement(document)), 2n);
  assert.equal(xml.xmlStrlen(cString("hello")), 5);
}

function libpng(): void {
  const png = open("libpng16.so.16", {
    png_sig_cmp: { parameters: ["buffer", "usize", "usize"], result: "i32" },
    png_sig_cmp_at: {
      name: "png_sig_cmp",
      parameters: ["address", "usize", "usize"],
      result: "i32",
    },
    png_get_io_ptr: { parameters: ["address"], result: "address" },
    png_set_sig_bytes: { parameters: ["address", "i32"] },
    png_access_version_number: { result: "u32" },
  });
  faults(
    "libpng",
    () => png.png_sig_cmp_at(wild, 0n, 8n),
    () => png.png_get_io_ptr(wild),
    () => png.png_set_sig_bytes(wild, 4),
    () => png.png_sig_cmp_at(shortBuffer(4), 0n, 8n),
  );
  assert.equal(png.png_sig_cmp(Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), 0n, 8n), 0);
  assert.ok(png.png_access_version_number() >= 10600);
}

function gmp(): void {
  const number = ["buffer", "buffer", "buffer"] as const;
  const library = dlopen("libgmp.so.10", {
    __gmpz_init_set_ui: { parameters: ["buffer", "usize"] },
    __gmpz_init: { parameters: ["buffer"] },
    __gmpz_mul: { parameters: number },
    mulAt: { name: "__gmpz_mul", parameters: ["buffer", "address", "address"] },
    __gmpz_tdiv_q: { parameters: number, signals: ["SIGFPE"] },
    __gmpz_get_ui: { parameters: ["buffer"], result: "usize" },
    getAt: { name: "__gmpz_get_ui", parameters: ["address"], result: "usize" },
    __gmpz_sizeinbase: { parameters: ["address", "i32"], result: "usize" },
  });
  const gmp = library.symbols;
  const [six, seven, zero, product] = [6n, 7n, 0n, 0n].map((value) => {
    const made = new Uint8Array(16);
    gmp.__gmpz_init_set_ui(made, value);
    return made;
  }) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  faults(
    "libgmp",
    () => gmp.getAt(wild),
    () => gmp.mulAt(product, wild, wild),
    () => gmp.__gmpz_sizeinbase(shortBuffer(4), 10),
  );
  // GMP raises the signal itself, with raise().
  for (let round = 0; round < 3; round++) {
    const { info } = exceptionOf(() => gmp.__gmpz_tdiv_q(product, six, zero));
    assert.deepEqual([info.signal, info.code, info.type], ["SIGFPE", "SI_TKILL", "arithmetic"]);
    assert.equal(info.call?.symbol, "__gmpz_tdiv_q");
    gmp.__gmpz_tdiv_q(product, seven, six);
    assert.equal(gmp.__gmpz_get_ui(product), 1n);
  }
  gmp.__gmpz_mul(product, six, seven);
  assert.equal(gmp.__gmpz_get_ui(product), 42n);
}

function pcre(): void {
  const pcre = open("libpcre2-8.so.0", {
    pcre2_compile_8: {
      parameters: ["buffer", "usize", "u32", "buffer", "buffer", "address"],
      result: "address",
    },
    compileAt: {
      name: "pcre2_compile_8",
      parameters: ["address", "usize", "u32", "buffer", "buffer", "address"],
      result: "address",
    },
    pcre2_match_data_create_8: { parameters: ["u32", "address"], result: "address" },
    pcre2_match_8: {
      parameters: ["address", "buffer", "usize", "usize", "u32", "address", "address"],
      result: "i32",
    },
    matchAt: {
      name: "pcre2_match_8",
      parameters: ["address", "address", "usize", "usize", "u32", "address", "address"],
      result: "i32",
    },
    pcre2_get_ovector_count_8: { parameters: ["address"], result: "u32" },
  });
  const code = new Int32Array(1);
  const at = new BigUint64Array(1);
  const data = pcre.pcre2_match_data_create_8(4, 0n);
  const compiled = pcre.pcre2_compile_8(text.encode("a+b"), 3n, 0, code, at, 0n);
  assert.notEqual(compiled, 0n);
  const subject = text.encode("xaab");
  faults(
    "libpcre2",
    () => pcre.compileAt(wild, 100n, 0, code, at, 0n),
    () => pcre.matchAt(wild, wild, 4n, 0n, 0, data, 0n),
    () => pcre.pcre2_get_ovector_count_8(wild),
    () => pcre.matchAt(compiled, shortBuffer(8), 5000n, 0n, 0, data, 0n),
  );
  assert.equal(pcre.pcre2_match_8(compiled, subject, 4n, 0n, 0, data, 0n), 1);
}

function crypto(): void {
  const crypto = open("libcrypto.so.3", {
    SHA256: { parameters: ["buffer", "usize", "buffer"], result: "address" },
    SHA256At: { name: "SHA256", parameters: ["address", "usize", "address"], result: "address" },
    BN_num_bits: { parameters: ["address"], result: "i32" },
    EVP_MD_get_size: { parameters: ["address"], result: "i32" },
    CRYPTO_memcmp: { parameters: ["address", "address", "usize"], result: "i32" },
  });
  faults(
    "libcrypto",
    () => crypto.SHA256At(shortBuffer(64), 1000n, 0n),
    () => crypto.BN_num_bits(wild),
    () => crypto.EVP_MD_get_size(wild),
    () => crypto.CRYPTO_memcmp(wild, wild, 16n),
  );
  const digest = new Uint8Array(32);
  crypto.SHA256(text.encode("abc"), 3n, digest);
  assert.deepEqual([...digest.subarray(0, 4)], [0xba, 0x78, 0x16, 0xbf]);
}

function expat(): void {
  const expat = open("libexpat.so.1", {
    XML_ParserCreate: { parameters: ["address"], result: "address" },
    XML_Parse: { parameters: ["address", "buffer", "i32", "i32"], result: "i32" },
    parseAt: { name: "XML_Parse", parameters: ["address", "address", "i32", "i32"], result: "i32" },
    XML_GetErrorCode: { parameters: ["address"], result: "i32" },
    XML_SetUserData: { parameters: ["address", "address"] },
  });
  const parser = expat.XML_ParserCreate(0n);
  faults(
    "libexpat",
    () => expat.parseAt(parser, wild, 100, 1),
    () => expat.XML_GetErrorCode(wild),
    () => expat.XML_SetUserData(wild, 1n),
    () => expat.parseAt(expat.XML_ParserCreate(0n), shortBuffer(8), 6000, 1),
  );
  const bytes = text.encode("<a>b</a>");
  assert.equal(expat.XML_Parse(expat.XML_ParserCreate(0n), bytes, bytes.length, 1), 1);
}

function bzip(): void {
  const bytes = ["buffer", "buffer", "buffer", "u32"] as const;
  const bzip = open("libbz2.so.1.0", {
    compress: {
      name: "BZ2_bzBuffToBuffCompress",
      parameters: [...bytes, "i32", "i32", "i32"],
      result: "i32",
    },
    compressAt: {
      name: "BZ2_bzBuffToBuffCompress",
      parameters: ["address", "buffer", "address", "u32", "i32", "i32", "i32"],
      result: "i32",
    },
    decompress: {
      name: "BZ2_bzBuffToBuffDecompress",
      parameters: [...bytes, "i32", "i32"],
      result: "i32",
    },
    BZ2_bzDecompress: { parameters: ["address"], result: "i32" },
  });
  const length = (value: number): Uint32Array<ArrayBuffer> => Uint32Array.of(value);
  faults(
    "libbz2",
    () => bzip.compressAt(wild, length(900), wild, 500, 1, 0, 0),
    () => bzip.BZ2_bzDecompress(wild),
    () => bzip.compressAt(shortBuffer(600), length(600), shortBuffer(8), 5000, 1, 0, 0),
  );
  const packed = new Uint8Array(200);
  const packedLength = length(200);
  assert.equal(bzip.compress(packed, packedLength, text.encode("hello"), 5, 1, 0, 0), 0);
  const unpacked = new Uint8Array(5);
  assert.equal(bzip.decompress(unpacked, length(5), packed, packedLength[0]!, 0, 0), 0);
  assert.equal(new TextDecoder().decode(unpacked), "hello");
}

function zstd(): void {
  const zstd = open("libzstd.so.1", {
    ZSTD_compress: {
      parameters: ["buffer", "usize", "buffer", "usize", "i32"],
      result: "usize",
    },
    compressAt: {
      name: "ZSTD_compress",
      parameters: ["buffer", "usize", "address", "usize", "i32"],
      result: "usize",
    },
    ZSTD_decompress: { parameters: ["buffer", "usize", "buffer", "usize"], result: "usize" },
    ZSTD_getFrameContentSize: { parameters: ["address", "usize"], result: "u64" },
    ZSTD_sizeof_DCtx: { parameters: ["address"], result: "usize" },
  });
  const packed = new Uint8Array(5000);
  faults(
    "libzstd",
    () => zstd.ZSTD_getFrameContentSize(wild, 18n),
    () => zstd.ZSTD_sizeof_DCtx(wild),
    () => zstd.compressAt(packed, 5000n, shortBuffer(16), 4000n, 3),
  );
  const length = zstd.ZSTD_compress(packed, 5000n, text.encode("hello"), 5n, 3);
  const unpacked = new Uint8Array(5);
  assert.equal(zstd.ZSTD_decompress(unpacked, 5n, packed, length), 5n);
  assert.equal(new TextDecoder().decode(unpacked), "hello");
}

function lzma(): void {
  const lzma = open("liblzma.so.5", {
    lzma_crc32: { parameters: ["buffer", "usize", "u32"], result: "u32" },
    crcAt: { name: "lzma_crc32", parameters: ["address", "usize", "u32"], result: "u32" },
    lzma_index_stream_count: { parameters: ["address"], result: "u64" },
    lzma_code: { parameters: ["address", "i32"], result: "i32" },
  });
  faults(
    "liblzma",
    () => lzma.crcAt(wild, 100n, 0),
    () => lzma.lzma_index_stream_count(wild),
    () => lzma.lzma_code(wild, 0),
    () => lzma.crcAt(shortBuffer(16), 5000n, 0),
  );
  assert.equal(lzma.lzma_crc32(text.encode("hello"), 5n, 0), 0x3610a686);
}

function jpeg(): void {
  const jpeg = open("libjpeg.so.62", {
    jpeg_std_error: { parameters: ["buffer"], result: "address" },
    errorAt: { name: "jpeg_std_error", parameters: ["address"], result: "address" },
    jpeg_destroy: { parameters: ["address"] },
    jpeg_set_quality: { parameters: ["address", "i32", "bool"] },
    jpeg_quality_scaling: { parameters: ["i32"], result: "i32" },
  });
  faults(
    "libjpeg",
    () => jpeg.errorAt(wild),
    () => jpeg.jpeg_destroy(wild),
    () => jpeg.jpeg_set_quality(wild, 50, true),
    () => jpeg.errorAt(shortBuffer(16)),
  );
  assert.notEqual(jpeg.jpeg_std_error(new Uint8Array(256)), 0n);
  assert.equal(jpeg.jpeg_quality_scaling(50), 100);
}

function glib(): void {
  const glib = open("libglib-2.0.so.0", {
    g_utf8_strlen: { parameters: ["buffer", "isize"], result: "isize" },
    lengthAt: { name: "g_utf8_strlen", parameters: ["address", "isize"], result: "isize" },
    g_list_length: { parameters: ["address"], result: "u32" },
    g_hash_table_size: { parameters: ["address"], result: "u32" },
  });
  faults(
    "libglib",
    () => glib.lengthAt(wild, -1n),
    () => glib.g_list_length(wild),
    () => glib.g_hash_table_size(wild),
    () => glib.lengthAt(shortBuffer(0), 10n),
  );
  assert.equal(glib.g_utf8_strlen(cString("äöü"), -1n), 3n);
}

function curl(): void {
  const curl = open("libcurl.so.4", {
    curl_getdate: { parameters: ["buffer", "address"], result: "i64" },
    dateAt: { name: "curl_getdate", parameters: ["address", "address"], result: "i64" },
    curl_easy_perform: { parameters: ["address"], result: "i32" },
    curl_easy_reset: { parameters: ["address"] },
    curl_slist_append: { parameters: ["address", "buffer"], result: "address" },
  });
  faults(
    "libcurl",
    () => curl.dateAt(wild, 0n),
    () => curl.curl_easy_perform(wild),
    () => curl.curl_easy_reset(wild),
  );
  const date = cString("Sun, 06 Nov 1994 08:49:37 GMT");
  assert.equal(curl.curl_getdate(date, 0n), 784111777n);
}

function ncurses(): void {
  const ncurses = open("libncurses.so.6", {
    getmaxx: { parameters: ["address"], result: "i32" },
    wmove: { parameters: ["address", "i32", "i32"], result: "i32" },
    wtouchln: { parameters: ["address", "i32", "i32", "i32"], result: "i32" },
    is_keypad: { parameters: ["address"], result: "bool" },
  });
  faults(
    "libncurses",
    () => ncurses.getmaxx(wild),
    () => ncurses.wmove(wild, 1, 1),
    () => ncurses.wtouchln(wild, 0, 1, 1),
  );
  // -1 is what ncurses answers for no window.
  assert.equal(ncurses.getmaxx(0n), -1);
}

await runCase(import.meta.url, {
  "libz.so.1": zlib,
  "libsqlite3.so.0": sqlite,
  "libxml2.so.2": libxml,
  "libpng16.so.16": libpng,
  "libgmp.so.10": gmp,
  "libpcre2-8.so.0": pcre,
  "libcrypto.so.3": crypto,
  "libexpat.so.1": expat,
  "libbz2.so.1.0": bzip,
  "libzstd.so.1": zstd,
  "liblzma.so.5": lzma,
  "libjpeg.so.62": jpeg,
  "libglib-2.0.so.0": glib,
  "libcurl.so.4": curl,
  "libncurses.so.6": ncurses,
});
