/** Sending stored reports: what the collector gets, what is marked, and what stands in the way. */
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { sendReports } from "../mod.ts";
import { needsPython, parseForm } from "./reader_support.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import {
  rejectedWith,
  runBeside,
  spool,
  startCollector,
  temporaryFolder,
} from "./spool_support.ts";
import { exceptionOf, runtimeName } from "./support.ts";

const { symbols } = openReportFixture().library;
const error = exceptionOf(() => symbols.list_sum(shortList));

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function marks(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith(".sent")).sort();
}

function assertTidy(folder: string): void {
  assert.deepEqual(readdirSync(folder).filter((name) => name.endsWith(".part")), []);
}

test("sendReports() sends a form that a strict parser takes", needsPython, async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  const { json, dump, text } = spool(folder.path, "20260102T030405-7-8-0", error);
  const annotations = { prod: "my app", ver: "1.2", "sentry[release]": "1.2" };
  assert.equal(await sendReports(folder.path, collector.url, { annotations }), 1);
  const [request] = collector.received;
  assert.equal(collector.received.length, 1);
  assert.equal(request!.method, "POST");
  assert.equal(request!.url, "/api/1/minidump/?sentry_key=k3y");
  assert.equal(request!.headers["content-length"], String(request!.body.byteLength));
  const parts = parseForm(request!.headers["content-type"]!, request!.body);
  const files = parts.filter(({ filename }) => filename !== null);
  assert.deepEqual(
    files.map(({ name, filename, type, sha256: sum }) => ({ name, filename, type, sum })),
    [
      {
        name: "upload_file_minidump",
        filename: "20260102T030405-7-8-0.dmp",
        type: "application/octet-stream",
        sum: sha256(dump),
      },
      {
        name: "faultline_report",
        filename: "20260102T030405-7-8-0.json",
        type: files[1]!.type,
        sum: sha256(json),
      },
      {
        name: "faultline_text",
        filename: "20260102T030405-7-8-0.txt",
        type: files[2]!.type,
        sum: sha256(text),
      },
    ],
  );
  // Bun adds a charset.
  assert.match(files[1]!.type!, /^application\/json(?:;\s*charset=utf-8)?$/);
  assert.match(files[2]!.type!, /^text\/plain(?:;\s*charset=utf-8)?$/);
  const fields = Object.fromEntries(
    parts.filter(({ filename }) => filename === null).map(({ name, text }) => [name, text]),
  );
  const { sentry, ...plain } = fields;
  const { signature } = error.toReport();
  assert.deepEqual(plain, {
    guid: "20260102T030405-7-8-0",
    signature,
    time: "2026-01-02T03:04:05.678Z",
    type: "access-violation",
    signal: "SIGSEGV",
    code: "SEGV_MAPERR",
    reason: "crash",
    ...annotations,
  });
  const attributes = JSON.parse(sentry!) as Record<string, unknown>;
  assert.deepEqual(attributes.fingerprint, [signature]);
  assert.equal(attributes.level, "fatal");
  assert.equal((attributes.tags as Record<string, string>).signal, "SIGSEGV");
});

test("sendReports() marks what was accepted, and sends it never again", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (const id of ["a-1", "a-2", "a-3"]) spool(folder.path, id, error);
  collector.reply = () => ({ status: 200, text: "event-77\n" });
  const directory = pathToFileURL(`${folder.path}/`);
  assert.equal(await sendReports(directory, collector.url), 3);
  assert.deepEqual(marks(folder.path), ["a-1.sent", "a-2.sent", "a-3.sent"]);
  const mark = JSON.parse(readFileSync(join(folder.path, "a-1.sent"), "utf8"));
  assert.equal(mark.answer, "event-77");
  assert.equal(mark.signature, error.toReport().signature);
  assert.ok(!JSON.stringify(mark).includes("k3y"), "the key stays out of the mark");
  assert.ok(Math.abs(Date.now() - Date.parse(mark.time)) < 60_000);
  assert.equal(await sendReports(folder.path, collector.url), 0);
  assert.equal(collector.received.length, 3);
  spool(folder.path, "a-4", error);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  assertTidy(folder.path);
});

test("sendReports() sends each report once when two programs send at the same time", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (let index = 0; index < 6; index += 1) spool(folder.path, `a-${index}`, error);
  const counts = await Promise.all([
    sendReports(folder.path, collector.url),
    sendReports(folder.path, collector.url),
    sendReports(folder.path, collector.url),
  ]);
  assert.equal(counts.reduce((sum, count) => sum + count), 6);
  assert.equal(collector.received.length, 6);
  assertTidy(folder.path);
});

test("sendReports() takes over what a program that died was sending", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  spool(folder.path, "a-1", error);
  const claim = join(folder.path, "a-1.sent.part");
  writeFileSync(claim, "");
  assert.equal(await sendReports(folder.path, collector.url), 0);
  const old = new Date(Date.now() - 11 * 60_000);
  utimesSync(claim, old, old);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  assertTidy(folder.path);
});

test("sendReports() holds back what is too much of one signature", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (let index = 10; index < 22; index += 1) spool(folder.path, `a-${index}`, error, "often");
  spool(folder.path, "b-1", error, "seldom");
  assert.equal(await sendReports(folder.path, collector.url), 11);
  assert.equal(await sendReports(folder.path, collector.url), 0);
  // An hour later.
  for (const name of marks(folder.path)) {
    const path = join(folder.path, name);
    const mark = JSON.parse(readFileSync(path, "utf8"));
    const time = new Date(Date.parse(mark.time) - 61 * 60_000).toISOString();
    writeFileSync(path, JSON.stringify({ ...mark, time }));
  }
  assert.equal(await sendReports(folder.path, collector.url, { maxPerSignature: 1 }), 1);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  assert.equal(collector.received.length, 13);
});

test("sendReports() drops marks of reports that are gone", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  spool(folder.path, "a-1", error);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  for (const ending of ["json", "dmp", "txt"]) rmSync(join(folder.path, `a-1.${ending}`));
  spool(folder.path, "a-2", error);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  assert.ok(existsSync(join(folder.path, "a-1.sent")), "it still counts for the rate");
  const old = new Date(Date.now() - 61 * 60_000);
  utimesSync(join(folder.path, "a-1.sent"), old, old);
  spool(folder.path, "a-3", error);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  assert.deepEqual(marks(folder.path), ["a-2.sent", "a-3.sent"]);
});

test("sendReports() goes on after a report that the collector refuses", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (const id of ["a-1", "a-2", "a-3"]) spool(folder.path, id, error);
  let requests = 0;
  collector.reply = () => ({ status: ++requests === 2 ? 413 : 200 });
  const message = await rejectedWith(
    "COLLECTOR_REFUSED",
    sendReports(folder.path, collector.url),
  );
  assert.match(message, /refused a-2 \(413\); 2 others were accepted/);
  assert.ok(!message.includes("k3y"), "the key stays out of messages");
  assert.deepEqual(marks(folder.path), ["a-1.sent", "a-3.sent"]);
  assert.equal(await sendReports(folder.path, collector.url), 1);
  assertTidy(folder.path);
});

test("sendReports() stops when the collector is busy or refuses everything", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (const id of ["a-1", "a-2"]) spool(folder.path, id, error);
  const replies = [
    { status: 429, headers: { "retry-after": "60" }, code: "COLLECTOR_BUSY" },
    { status: 503, code: "COLLECTOR_BUSY" },
    { status: 403, code: "COLLECTOR_REFUSED" },
    { status: 404, code: "COLLECTOR_REFUSED" },
  ];
  for (const { code, ...reply } of replies) {
    collector.reply = () => reply;
    const message = await rejectedWith(code, sendReports(folder.path, collector.url));
    assert.ok(message.includes(`answered ${reply.status}`), message);
    if (reply.headers !== undefined) assert.ok(message.includes("Retry-After 60"), message);
  }
  assert.equal(collector.received.length, replies.length);
  assert.deepEqual(marks(folder.path), []);
  assertTidy(folder.path);
});

test("sendReports() follows no redirect", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  await using elsewhere = await startCollector();
  spool(folder.path, "a-1", error);
  for (const status of [301, 302, 307, 308]) {
    collector.reply = () => ({ status, headers: { location: elsewhere.url.href } });
    const message = await rejectedWith(
      "COLLECTOR_REFUSED",
      sendReports(folder.path, collector.url),
    );
    assert.ok(message.includes(`answered ${status}`), message);
  }
  assert.equal(elsewhere.received.length, 0);
});

test("sendReports() tells that nobody answers", async () => {
  using folder = temporaryFolder();
  spool(folder.path, "a-1", error);
  const collector = await startCollector();
  await collector[Symbol.asyncDispose]();
  const message = await rejectedWith(
    "COLLECTOR_UNREACHABLE",
    sendReports(folder.path, collector.url),
  );
  assert.ok(message.includes(`127.0.0.1:${collector.port}`), message);
  assert.deepEqual(marks(folder.path), []);
  assertTidy(folder.path);
});

test("sendReports() ends by its signal, and keeps what was accepted", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (const id of ["a-1", "a-2", "a-3"]) spool(folder.path, id, error);
  const controller = new AbortController();
  const reason = new Error("enough");
  collector.reply = () => {
    if (collector.received.length < 2) return { status: 200 };
    controller.abort(reason);
    return "hang";
  };
  const { signal } = controller;
  await assert.rejects(sendReports(folder.path, collector.url, { signal }), (thrown) => {
    assert.equal(thrown, reason);
    return true;
  });
  assert.deepEqual(marks(folder.path), ["a-1.sent"]);
  assertTidy(folder.path);
  await assert.rejects(
    sendReports(folder.path, collector.url, { signal: AbortSignal.abort(reason) }),
    (thrown) => thrown === reason,
  );
  assert.equal(collector.received.length, 2);
});

test("sendReports() sends a dump whose JSON is damaged or missing, and no JSON alone", async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  for (const id of ["a-1", "a-2", "a-3"]) spool(folder.path, id, error);
  writeFileSync(join(folder.path, "a-1.json"), '{"format":');
  rmSync(join(folder.path, "a-2.json"));
  rmSync(join(folder.path, "a-3.dmp"));
  writeFileSync(join(folder.path, "notes.md"), "not a report");
  renameSync(join(folder.path, "a-2.txt"), join(folder.path, "-odd-.txt"));
  assert.equal(await sendReports(folder.path, collector.url), 2);
  assert.deepEqual(marks(folder.path), ["a-1.sent", "a-2.sent"]);
});

test("sendReports() refuses what it cannot use", async () => {
  using folder = temporaryFolder();
  const to = new URL("http://127.0.0.1:1/");
  const refused: readonly (readonly [unknown, unknown, unknown?])[] = [
    [7, to],
    ["", to],
    [new URL("http://example.com/"), to],
    [folder.path, "http://127.0.0.1/"],
    [folder.path, new URL("file:///tmp/")],
    [folder.path, new URL("http://user:secret@127.0.0.1/")],
    [folder.path, to, { signal: "now" }],
    [folder.path, to, { annotations: { "a b": "c" } }],
    [folder.path, to, { annotations: { upload_file_minidump: "c" } }],
    [folder.path, to, { annotations: { a: 7 } }],
  ];
  for (const args of refused) {
    await assert.rejects(
      sendReports(...args as Parameters<typeof sendReports>),
      (thrown: Error) => {
        assert.equal(thrown.constructor, TypeError, JSON.stringify(args));
        assert.match(thrown.message, /^Cannot send crash reports as /);
        assert.ok(!thrown.message.includes("secret"));
        return true;
      },
    );
  }
  for (const maxPerSignature of [0, -1, 1.5, NaN]) {
    await assert.rejects(sendReports(folder.path, to, { maxPerSignature }), RangeError);
  }
  const missing = join(folder.path, "missing");
  const message = await rejectedWith("REPORTS_UNUSABLE", sendReports(missing, to));
  assert.match(message, /missing does not exist/);
  assert.equal(await sendReports(folder.path, to), 0);
});

const onlyDeno = { skip: runtimeName() === "bun" ? "Bun has no permissions" : false } as const;

test("sendReports() names the permission that is missing", onlyDeno, async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  spool(folder.path, "a-1", error);
  const read = `--allow-read=${folder.path}`;
  const write = `--allow-write=${folder.path}`;
  const net = `--allow-net=127.0.0.1:${collector.port}`;
  const run = async (...flags: string[]): Promise<string> => {
    const { stdout, stderr } = await runBeside(
      "send_reports",
      [folder.path, collector.url.href],
      flags,
    );
    return stdout === "" ? stderr : stdout.trimEnd();
  };
  for (const [missing, ...flags] of [[read, write, net], [write, read, net], [net, read, write]]) {
    const said = await run(...flags);
    assert.ok(said.startsWith("PERMISSION_DENIED: Cannot send crash reports"), said);
    assert.ok(said.endsWith(`run it with ${missing}`), said);
    assertTidy(folder.path);
  }
  assert.equal(collector.received.length, 0);
  assert.equal(await run(read, write, net), "1");
});
