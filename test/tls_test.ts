/** Thread-local storage of the native library: static as a rule, dynamic without a surplus. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { processStatusLayout } from "../lib/abi.ts";
import { checkStatus, native } from "../lib/native.ts";
import { isMusl } from "./musl_support.ts";
import { childPasses } from "./support.ts";

test("fl_status() says that the thread-locals are static as a rule, and dynamic in musl", () => {
  const bytes = new Uint8Array(processStatusLayout.byteLength);
  checkStatus(native().functions.fl_status!(bytes, bytes.byteLength) as number, "Cannot ask");
  const view = new DataView(bytes.buffer);
  assert.equal(view.getUint32(processStatusLayout.static_tls.offset, true), isMusl ? 0 : 1);
});

test("dlopen() passes float arguments and recovers where no static TLS is left", () => {
  childPasses("tls", "withoutSurplus");
});

test("dlopen() does so on the first call of a fresh Worker", () => {
  childPasses("tls", "freshWorkers");
});

test("dlopen() recovers stack overflows where no static TLS is left", () => {
  childPasses("tls", "overflows");
});
