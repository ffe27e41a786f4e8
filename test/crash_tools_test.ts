/** What tools of others make of a dump: the same reason, address, frames and lines. */
import { strict as assert } from "node:assert";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { before, describe, test } from "node:test";
import { output } from "./compile_support.ts";
import {
  crashChild,
  crashLibrary,
  faultLine,
  freshDirectory,
  readReport,
  reportFiles,
} from "./crash_support.ts";
import { arm64, either, needsHelpers, x64Only } from "./platform_support.ts";
import { lldb, needsLldb, needsStackwalk, stackwalk } from "./reader_support.ts";

describe("a minidump of the handler's", () => {
  const directory = freshDirectory();

  before(() => {
    const options = { directory };
    const job = { library: crashLibrary, function: "cf_segv", where: "main", options } as const;
    assert.equal(crashChild(job).signal, "SIGSEGV");
  });

  test("is walked by minidump-stackwalk", needsStackwalk, () => {
    const report = readReport(directory);
    const { crash_info: info, threads } = stackwalk(reportFiles(directory).dmp!);
    assert.equal(info.type, "SIGSEGV / SEGV_MAPERR");
    assert.equal(BigInt(info.address!), BigInt(report.exception.address!));
    // It takes instructions of x86-64 apart, not of arm64.
    if (!arm64) assert.equal(info.memory_accesses?.[0]?.access_type, "read");
    // Threads whose registers could not be read are left out.
    const others = needsHelpers.skip === false ? report.threads : [];
    assert.equal(threads.length, others.length + 1);
    const { thread_id, frames } = threads[info.crashing_thread!]!;
    assert.equal(thread_id, report.exception.threadId);
    assert.deepEqual([frames[0]!.module, frames[0]!.trust], ["crash_fixture.so", "context"]);
    const names = new Map(threads.map((thread) => [thread.thread_id, thread.thread_name]));
    for (const { threadId, name } of others) assert.equal(names.get(threadId), name);
  });

  const tells = "tells minidump-stackwalk of the kernel and the processor";
  test(tells, either(x64Only("/proc/cpuinfo has these fields"), needsStackwalk), () => {
    const { system_info: system } = stackwalk(reportFiles(directory).dmp!);
    const name = output("uname", ["-srvm"]).trim();
    const [number] = /\d+\.\d+\.\d+/.exec(name)!;
    assert.equal(system.os_ver, `${number} ${name}`);
    assert.equal(system.cpu_count, availableParallelism());
    const fields = new Map(
      readFileSync("/proc/cpuinfo", "utf8").split("\n").slice(0, 10)
        .map((line) => line.split(/\s*: /) as [string, string]),
    );
    const [family, model] = [fields.get("cpu family"), fields.get("model")];
    assert.match(system.cpu_info ?? "", new RegExp(`family ${family} model ${model} `));
  });

  test("is opened by lldb, with functions and lines", needsLldb, () => {
    const path = reportFiles(directory).dmp!;
    assert.ok(existsSync(path));
    const said = lldb(path, ["thread list", "bt 3"]);
    assert.match(said, /stop reason = signal SIGSEGV/);
    const place = `crash_fixture.c:${faultLine("cf_segv")}`;
    assert.match(said, new RegExp(`frame #0: .*crash_fixture.so\`read_word.* at ${place}`));
    assert.match(said, /frame #1: .*crash_fixture\.so`cf_segv/);
  });
});
