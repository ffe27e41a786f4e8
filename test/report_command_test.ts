/** The command `faultline report`: what it lists, shows and sends, and what it says of mistakes. */
import { strict as assert } from "node:assert";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needsPython, parseForm } from "./reader_support.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import {
  type Ended,
  runBeside,
  runProgram,
  spool,
  startCollector,
  temporaryFolder,
} from "./spool_support.ts";
import { exceptionOf } from "./support.ts";

const { symbols } = openReportFixture().library;
const error = exceptionOf(() => symbols.list_sum(shortList));
const { signature } = error.toReport();

/** Runs the command as its users do, with no permission but those that it needs. */
function report(...args: string[]): Promise<Ended> {
  const rights = ["read", "write", "net", "env"].map((name) => `--allow-${name}`);
  return runBeside("report_command", args, rights);
}

/** What the command prints; it must succeed. */
async function said(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await report(...args);
  assert.deepEqual([status, stderr], [0, ""], stdout);
  return stdout;
}

test("report list names reports, when they were made and whether they were sent", async () => {
  using folder = temporaryFolder();
  assert.match(await said("list", folder.path), /^There are no crash reports in /);
  spool(folder.path, "20260102T030405-1-1-0", error);
  spool(folder.path, "20260102T030406-1-1-0", error, "arithmetic \u001b[31mlibz.so.1!inflate");
  writeFileSync(join(folder.path, "20260102T030406-1-1-0.sent"), "");
  writeFileSync(join(folder.path, "broken.json"), "{}");
  writeFileSync(join(folder.path, "alone.dmp"), "MDMP");
  const lines = (await said("list", folder.path)).replaceAll(/\n {4}(?=\S)/g, " ").split("\n");
  assert.match(lines[0]!, /^ {6}2026-01-02 03:04:05 {2}20260102T030405-1-1-0 {2}access-violation/);
  assert.match(lines[1]!, /^sent {2}2026-01-02 .* arithmetic .\[31mlibz\.so\.1!inflate$/);
  assert.ok(!lines[1]!.includes("\u001b"), "what would steer a terminal is not printed");
  assert.match(lines[2]!, /^ {6}alone {2}it has no JSON$/);
  assert.match(lines[3]!, /^ {6}broken {2}Cannot read a crash report as its format must be/);
  const listed = JSON.parse(await said("list", folder.path, "--json"));
  assert.deepEqual(listed.map(({ id }: { id: string }) => id), [
    ...["20260102T030405-1-1-0", "20260102T030406-1-1-0", "alone", "broken"],
  ]);
  assert.equal(listed[0].signature, signature);
  assert.deepEqual([listed[0].sent, listed[1].sent], [false, true]);
  assert.ok(listed[0].files.every((path: string) => existsSync(path)));
});

test("report show prints the newest report, or the one that is named", async () => {
  using folder = temporaryFolder();
  spool(folder.path, "a-1", error);
  const { json } = spool(folder.path, "a-2", error);
  const text = await said("show", folder.path);
  const lines = text.trimEnd().split("\n");
  assert.match(lines[0]!, /^==\d+==FAULTLINE: SIGSEGV \(SEGV_MAPERR\) reading 0x8 in last_value/);
  assert.match(lines.at(-1)!, /^SUMMARY: FAULTLINE: SIGSEGV \(SEGV_MAPERR\) in last_value/);
  assert.match(text, /what +the process ended with this exception/);
  assert.match(text, /#2 0x[0-9a-f]{12} list_sum/);
  assert.equal(await said("show", folder.path, "a-2", "--json"), json);
  const svg = await said("show", folder.path, "a-1", "--svg");
  assert.match(svg, /^<svg [\s\S]*report_fixture\.so r-x[\s\S]*<\/svg>\n$/);
  rmSync(join(folder.path, "a-2.json"));
  assert.match(await said("show", folder.path), /^SUMMARY: /m);
});

test("report show says why it cannot show a report", async () => {
  using folder = temporaryFolder();
  const refused = async (expected: RegExp, ...args: string[]): Promise<void> => {
    const { status, stdout, stderr } = await report("show", ...args);
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, expected);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  };
  await refused(/^Cannot show a crash report of .* as there is none/, folder.path);
  spool(folder.path, "a-1", error);
  spool(folder.path, "a-2", error);
  await refused(/the crash report b of .* as there is none/, folder.path, "b");
  await refused(/as 2 names begin like that/, folder.path, "a");
  writeFileSync(join(folder.path, "a-1.json"), '{"format":"faultline.crash","version":0}');
  await refused(/a-1\.json: Cannot read a crash report as its version must be/, folder.path, "a-1");
  writeFileSync(join(folder.path, "dump.dmp"), "MDMP");
  await refused(/give its minidump to minidump-stackwalk or lldb/, folder.path, "dump");
  await refused(/does not exist/, join(folder.path, "missing"));
});

test("report send sends, with annotations, and sends nothing twice", needsPython, async () => {
  using folder = temporaryFolder();
  await using collector = await startCollector();
  spool(folder.path, "a-1", error, "one");
  spool(folder.path, "a-2", error, "one");
  spool(folder.path, "a-3", error, "two");
  rmSync(join(folder.path, "a-3.dmp"));
  const to = ["--to", collector.url.href];
  const annotation = ["--annotation", "prod=my=app", "--annotation", "ver=1"];
  const first = await said("send", folder.path, ...to, ...annotation, "--max-per-signature", "1");
  assert.match(first, /^1 sent; 1 held back, .*; 1 without a minidump\n$/);
  const [request] = collector.received;
  const parts = parseForm(request!.headers["content-type"]!, request!.body);
  const texts = new Map(parts.map(({ name, text }) => [name, text]));
  assert.deepEqual([texts.get("prod"), texts.get("ver")], ["my=app", "1"]);
  assert.match(await said("send", folder.path, ...to), /^1 sent; /);
  assert.match(await said("send", folder.path, ...to), /^0 sent; /);
  collector.reply = () => ({ status: 503 });
  spool(folder.path, "a-4", error, "one");
  const { status, stderr } = await report("send", folder.path, ...to);
  assert.equal(status, 1);
  assert.match(stderr, /^Cannot send crash reports as .* answered 503; .*try again later\n$/);
});

test("faultline has the command report", async () => {
  const ran = await runProgram("../lib/cli/main.ts", { args: ["report", "--help"] });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /^Usage: faultline report COMMAND DIRECTORY\n/);
  const { stdout } = await runProgram("../lib/cli/main.ts", { args: ["--help"] });
  assert.match(stdout, /faultline report list\|show\|send DIRECTORY/);
});

test("report refuses command lines that make no sense", async () => {
  using folder = temporaryFolder();
  const { path } = folder;
  const refused: readonly (readonly [RegExp, ...string[]])[] = [
    [/it names no command/],
    [/there is no command "lost"/, "lost", path],
    [/it names no directory/, "list"],
    [/"more" is one word too many/, "list", path, "more"],
    [/--svg is no option of report list/, "list", path, "--svg"],
    [/--json and --svg exclude each other/, "show", path, "--json", "--svg"],
    [/Unknown option '--odd'/, "list", path, "--odd"],
    [/--to must be the collector's URL/, "send", path],
    [/--to must be the collector's URL: here/, "send", path, "--to", "here"],
    [/must be an http or https URL/, "send", path, "--to", "ftp://example.com/"],
    [/--annotation must be NAME=VALUE/, "send", path, "--to", "http://a/", "--annotation", "b"],
    [/maxPerSignature must be/, "send", path, "--to", "http://a/", "--max-per-signature", "x"],
  ];
  for (const [expected, ...args] of refused) {
    const { status, stdout, stderr } = await report(...args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, expected);
    assert.match(stderr, /^Usage: faultline report COMMAND DIRECTORY$/m);
  }
  assert.match(await said("--help"), /^Usage: faultline report/);
});
