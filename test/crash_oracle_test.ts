/** The same crash as the crate minidump-writer dumps it, from another process: the same frames. */
import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { crashCommand, crashLibrary, freshDirectory, reportFiles } from "./crash_support.ts";
import { needsOtherWriter, otherWriter, stackwalk, type Walked } from "./reader_support.ts";

const wait = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

const patienceMs = 60_000;

/** The innermost ones; further out the two keep different lengths of the stack. */
const framesCompared = 8;

/** What must be equal: what happened, and where the crashed thread was. */
function essence({ crash_info: info, crashing_thread: thread, modules }: Walked): object {
  const { type, address, instruction } = info;
  const frames = thread.frames.slice(0, framesCompared);
  assert.ok(frames.length >= 4, `${frames.length} frames`);
  const library = modules.find(({ filename }) => filename.endsWith("crash_fixture.so"));
  return {
    ...{ type, address, instruction, threadId: thread.thread_id, library },
    // Where a program begins that is not position-independent, the other writer gets wrong.
    frames: frames.map(({ module, offset, trust }) => [module, offset, trust]),
  };
}

test(
  "a dump of the handler's has the frames of one by minidump-writer",
  needsOtherWriter,
  async () => {
    const directory = freshDirectory();
    const reports = join(directory, "reports");
    const note = join(directory, "note");
    const [program, ...args] = crashCommand({
      ...{ library: crashLibrary, function: "cf_segv", where: "main", note },
      options: { directory: reports, stderr: false },
    });
    const child = spawn(program!, args, { stdio: "ignore" });
    const ended = new Promise((resolve) => child.on("close", resolve));
    try {
      const end = Date.now() + patienceMs;
      while (!existsSync(note)) {
        assert.ok(Date.now() < end, "the handler that was there before was not called");
        await wait(50);
      }
      const other = join(directory, "other.dmp");
      otherWriter(child.pid!, note, other);
      const ours = stackwalk(reportFiles(reports).dmp!);
      assert.deepEqual(essence(ours), essence(stackwalk(other)));
    } finally {
      process.kill(child.pid!, "SIGKILL");
      await ended;
    }
  },
);
