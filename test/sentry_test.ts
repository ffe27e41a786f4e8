/** What Sentry's packages send of a caught fault, by the examples that show how. */
import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { existsSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { compiledFile } from "./compile_support.ts";
import { needsPython, parseMinidump } from "./reader_support.ts";
import { type Received, runProgram, startCollector } from "./spool_support.ts";
import { isMusl } from "./musl_support.ts";
import { runtimeName } from "./support.ts";

const name = `@sentry/${runtimeName()}`;
const isInstalled = existsSync(new URL(`../node_modules/${name}`, import.meta.url));
const needs = { skip: isInstalled ? needsPython.skip : `${name} is not installed` } as const;

/** A part of an envelope. */
interface Item {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Buffer;
}

/** Reads an envelope by its grammar: lines of JSON, payloads by their length or up to a newline. */
function itemsOf({ headers, body }: Received): readonly Item[] {
  const raw = Buffer.from(body);
  const bytes = headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw;
  let at = 0;
  const line = (): Buffer => {
    const end = bytes.indexOf("\n", at);
    const found = bytes.subarray(at, end < 0 ? bytes.length : end);
    at = end < 0 ? bytes.length : end + 1;
    return found;
  };
  JSON.parse(line().toString());
  const items: Item[] = [];
  while (at < bytes.length) {
    const header = JSON.parse(line().toString()) as Item["header"];
    if (typeof header.length !== "number") {
      items.push({ header, payload: line() });
      continue;
    }
    const payload = bytes.subarray(at, at + header.length);
    assert.equal(payload.length, header.length);
    at += header.length;
    if (at < bytes.length) assert.equal(bytes[at++], 0x0a, "a newline ends the payload");
    items.push({ header, payload });
  }
  return items;
}

test(`${name} sends the exception, and its minidump as an attachment`, needs, async () => {
  await using collector = await startCollector();
  collector.reply = () => ({ status: 200, text: "{}" });
  const { status, stdout, stderr } = await runProgram(`../examples/sentry_${runtimeName()}.ts`, {
    env: { SENTRY_DSN: `http://public@127.0.0.1:${collector.port}/42` },
  });
  assert.deepEqual([status, stdout], [0, "sent\n"], stderr);
  const items = collector.received.flatMap(itemsOf);
  const event = items.find(({ header }) => header.type === "event")!;
  const { exception, fingerprint, contexts } = JSON.parse(event.payload.toString());
  assert.equal(exception.values[0].type, "HardwareException");
  assert.match(exception.values[0].value, /^strlen\(\) of libc\.so\.6 read address 0x10/);
  assert.match(
    fingerprint[0],
    isMusl ? /^access-violation ld-musl-.*!/ : /^access-violation libc\.so\.6!/,
  );
  assert.equal(contexts.fault.code, "SEGV_MAPERR");
  const attachment = items.find(({ header }) => header.type === "attachment")!;
  assert.equal(attachment.header.attachment_type, "event.minidump");
  const path = compiledFile("sentry.dmp");
  writeFileSync(path, attachment.payload);
  const { exception: found } = parseMinidump(path);
  assert.deepEqual([found.code, found.address], ["EXCEPTION_SIGSEGV", "0x10"]);
});
