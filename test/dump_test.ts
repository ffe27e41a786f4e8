/** dumpThreads() and dumpLater(): where threads are, now or when it takes too long. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { dlopen, dumpLater, dumpThreads } from "../mod.ts";
import { crashLibrary, freshDirectory } from "./crash_support.ts";
import { needsHelpers, runtimePath, timeFactor } from "./platform_support.ts";
import { childArgs } from "./support.ts";

/** The kernel's list of this process's threads: names by id. */
function tasks(): ReadonlyMap<number, string> {
  const folder = "/proc/self/task";
  const names = new Map<number, string>();
  for (const id of readdirSync(folder)) {
    try {
      names.set(Number(id), readFileSync(join(folder, id, "comm"), "utf8").trimEnd());
    } catch (error) {
      // The thread ended meanwhile.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" && code !== "ESRCH") throw error;
    }
  }
  return names;
}

test(
  "dumpThreads() names the threads that the kernel lists, the calling one first",
  needsHelpers,
  () => {
    const dump = dumpThreads();
    const known = tasks();
    assert.ok(dump.length > 1);
    assert.ok(known.has(dump[0]!.threadId));
    // Threads of the runtime may end and begin between two looks.
    const shared = dump.filter(({ threadId }) => known.has(threadId));
    assert.ok(shared.length > 1);
    for (const { threadId, name, backtrace } of shared) {
      assert.equal(name, known.get(threadId));
      assert.ok(backtrace.length > 0, name);
      assert.equal(backtrace[0]!.trust, "context");
    }
    assert.ok(dump[0]!.backtrace.some(({ module }) => module?.endsWith("/faultline.so")));
  },
);

test("dumpThreads() shows where another thread sleeps in native code", needsHelpers, async () => {
  using library = dlopen(crashLibrary, {
    cf_sleep: { parameters: ["i32"], result: "i32", nonblocking: true },
  });
  const sleep = library.symbols.cf_sleep(2);
  // The pool's thread takes a moment to get there.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const found = dumpThreads().some(({ backtrace }) =>
    backtrace.some(({ symbol, file }) =>
      symbol === "cf_sleep" && file?.endsWith("crash_fixture.c") === true
    )
  );
  await sleep;
  assert.ok(found);
});

test("dumpThreads() many times leaves no process and no descriptor behind", needsHelpers, () => {
  dumpThreads();
  const before = readdirSync("/proc/self/fd").length;
  for (let round = 0; round < 20; round++) assert.ok(dumpThreads().length > 1);
  assert.ok(readdirSync("/proc/self/fd").length <= before + 1);
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function watchdogChild(timeoutMs: number, options: object, what = ""): Ended {
  const file = fileURLToPath(new URL("./children/watchdog.ts", import.meta.url));
  const args = [crashLibrary, String(timeoutMs), JSON.stringify(options), what];
  const { status, stdout, stderr } = spawnSync(runtimePath, [...childArgs(file), ...args], {
    encoding: "utf8",
    timeout: 60_000 * timeFactor,
    killSignal: "SIGKILL",
  });
  return { status, stdout, stderr };
}

const sleeping = /^ {2}#\d+ +0x[0-9a-f]+ cf_sleep .*crash_fixture\.c:\d+/m;

test("dumpLater() writes where this thread is while native code blocks it", needsHelpers, () => {
  const { status, stdout, stderr } = watchdogChild(200, {});
  assert.deepEqual({ status, stdout }, { status: 0, stdout: "survived\n" }, stderr);
  assert.match(stderr, /^==\d+==FAULTLINE: watchdog/m);
  assert.match(stderr, sleeping);
  assert.match(stderr, /^SUMMARY: FAULTLINE: watchdog/m);
  assert.equal(stderr.match(/^SUMMARY/gm)?.length, 1);
});

test(
  "dumpLater() with `exit` ends the process with code 124 and writes to its path",
  needsHelpers,
  () => {
    const directory = freshDirectory();
    const path = join(directory, "where-%p.txt");
    const { status, stdout } = watchdogChild(200, { exit: true, path });
    assert.deepEqual({ status, stdout }, { status: 124, stdout: "" });
    const [name] = readdirSync(directory);
    assert.match(name!, /^where-\d+\.txt$/);
    assert.match(readFileSync(join(directory, name!), "utf8"), sleeping);
  },
);

test("dumpLater() with `repeat` writes again and again", () => {
  const { status, stderr } = watchdogChild(200, { repeat: true });
  assert.equal(status, 0, stderr);
  assert.ok((stderr.match(/^SUMMARY/gm)?.length ?? 0) >= 2, stderr);
});

test("dumpLater() that is disposed in time writes nothing", () => {
  const { status, stdout, stderr } = watchdogChild(500, {}, "cancel");
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "survived\n", stderr: "" });
});

test("dumpLater() refuses wrong arguments", () => {
  const wrong: readonly [unknown, unknown, typeof TypeError | typeof RangeError][] = [
    ["5", {}, TypeError],
    [0, {}, RangeError],
    [1.5, {}, RangeError],
    [2 ** 31, {}, RangeError],
    [5, null, TypeError],
    [5, { exit: 1 }, TypeError],
    [5, { repeat: "yes" }, TypeError],
    [5, { path: "" }, TypeError],
    [5, { path: new URL("https://example.com/") }, TypeError],
  ];
  for (const [timeout, options, Kind] of wrong) {
    assert.throws(() => dumpLater(timeout as number, options as object), Kind, String(timeout));
  }
  assert.throws(() => dumpLater(1000, { path: "/no/such/folder/file" }), /\/no\/such\/folder/);
});
