/** What tools of others make of a dump: the same reason, address, frames and lines. */
import { strict as assert } from "node:assert";
import { existsSync } from "node:fs";
import process from "node:process";
import { before, describe, test } from "node:test";
import { needs, output } from "./compile_support.ts";
import {
  crashChild,
  crashLibrary,
  faultLine,
  freshDirectory,
  readReport,
  reportFiles,
} from "./crash_support.ts";

/** Built by `cargo install minidump-stackwalk`; CI keeps it. */
const stackwalk = process.env.MINIDUMP_STACKWALK ?? "minidump-stackwalk";

interface Walked {
  readonly crash_info: {
    readonly type: string;
    readonly address: string;
    readonly crashing_thread: number;
    readonly memory_accesses?: readonly { readonly access_type?: string }[];
  };
  readonly threads: readonly {
    readonly thread_id: number;
    readonly thread_name: string | null;
    readonly frames: readonly { readonly module: string | null; readonly trust: string }[];
  }[];
}

describe("a minidump of the handler's", () => {
  const directory = freshDirectory();

  before(() => {
    const options = { directory };
    const job = { library: crashLibrary, function: "cf_segv", where: "main", options } as const;
    assert.equal(crashChild(job).signal, "SIGSEGV");
  });

  test("is walked by minidump-stackwalk", needs(stackwalk), () => {
    const report = readReport(directory);
    const walked = JSON.parse(output(stackwalk, ["--json", reportFiles(directory).dmp!])) as Walked;
    const { crash_info: info, threads } = walked;
    assert.equal(info.type, "SIGSEGV / SEGV_MAPERR");
    assert.equal(BigInt(info.address), BigInt(report.exception.address!));
    assert.equal(info.memory_accesses?.[0]?.access_type, "read");
    assert.equal(threads.length, report.threads.length + 1);
    const { thread_id, frames } = threads[info.crashing_thread]!;
    assert.equal(thread_id, report.exception.threadId);
    assert.deepEqual([frames[0]!.module, frames[0]!.trust], ["crash_fixture.so", "context"]);
    const names = new Map(threads.map((thread) => [thread.thread_id, thread.thread_name]));
    for (const { threadId, name } of report.threads) assert.equal(names.get(threadId), name);
  });

  test("is opened by lldb, with functions and lines", needs("lldb"), () => {
    const path = reportFiles(directory).dmp!;
    assert.ok(existsSync(path));
    const commands = ["-o", `target create --core ${path}`, "-o", "thread list", "-o", "bt 3"];
    const said = output("lldb", ["--batch", ...commands]);
    assert.match(said, /stop reason = signal SIGSEGV/);
    const place = `crash_fixture.c:${faultLine("cf_segv")}`;
    assert.match(said, new RegExp(`frame #0: .*crash_fixture.so\`read_word.* at ${place}`));
    assert.match(said, /frame #1: .*crash_fixture\.so`cf_segv/);
  });
});
