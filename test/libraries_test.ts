/** Real libraries, misused and then used. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dlopen } from "../mod.ts";
import { callsPass } from "./calls_support.ts";

const libraries = [
  "libz.so.1",
  "libsqlite3.so.0",
  "libxml2.so.2",
  "libpng16.so.16",
  "libgmp.so.10",
  "libpcre2-8.so.0",
  "libcrypto.so.3",
  "libexpat.so.1",
  "libbz2.so.1.0",
  "libzstd.so.1",
  "liblzma.so.5",
  "libjpeg.so.62",
  "libglib-2.0.so.0",
  "libcurl.so.4",
  "libncurses.so.6",
];

/** Why a library cannot be tested; false if it can. */
function missing(library: string): string | false {
  try {
    dlopen(library, {}).close();
    return false;
  } catch (error) {
    assert.equal((error as { code?: unknown }).code, "LIBRARY_NOT_FOUND");
    return `${library} is not installed here`;
  }
}

for (const library of libraries) {
  test(`dlopen() survives the misuse of ${library}, which goes on working`, {
    skip: missing(library),
  }, () => callsPass("libraries", library));
}
