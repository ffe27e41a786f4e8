/**
 * Starts programs for the test drivers: with a time limit, in a process group of their own, and
 * with their output in memory.
 *
 * A test of hardware exceptions may hang in a way that no in-process timer can end (a handler that
 * repeats one instruction for ever), so the limit is enforced from outside and with SIGKILL.
 */
import { spawn } from "node:child_process";

/** Output past this is dropped, so that a child which prints for ever cannot exhaust memory. */
const outputBytesMax = 4 * 1024 * 1024;

/** How long the pipes may stay open after the child itself has ended. */
const drainMs = 2_000;

const running = new Set();

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    // The children lead groups of their own, so a Ctrl+C in the terminal does not reach them.
    for (const child of running) killGroup(child);
    process.exit(1);
  });
}

function killGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group is already gone; or there are no process groups on this system.
    child.kill("SIGKILL");
  }
}

/** Collects at most `outputBytesMax` bytes of a stream. */
function collect(stream) {
  const chunks = [];
  let byteLength = 0;
  stream?.on("data", (chunk) => {
    if (byteLength < outputBytesMax) chunks.push(chunk);
    byteLength += chunk.length;
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

/**
 * Runs one program to its end and never throws: what went wrong is in the result.
 *
 * `ok` is true for exit code 0 within the limit. `reason` says in a few words how it ended, and
 * `timedOut` whether the limit did it.
 */
export function run(command, options = {}) {
  const { cwd, env = {}, timeoutMs = 300_000, inherit = false } = options;
  const [file, ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      cwd,
      env: { ...process.env, ...env },
      // A child that keeps the terminal must stay in the terminal's own process group.
      detached: !inherit,
      stdio: inherit ? "inherit" : ["ignore", "pipe", "pipe"],
    });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    let timedOut = false;
    let drain;
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child);
    }, timeoutMs);

    const finish = (code, reason) => {
      clearTimeout(timer);
      clearTimeout(drain);
      running.delete(child);
      const ok = code === 0 && !timedOut;
      resolve({ ok, code, reason, timedOut, stdout: stdout(), stderr: stderr() });
    };
    if (child.pid !== undefined) running.add(child);
    child.on("error", (error) => finish(-1, `could not be started (${error.message})`));
    child.on("exit", (code, signal) => {
      const limit = `ran longer than ${timeoutMs / 1000} s and was killed`;
      const reason = timedOut ? limit : signal ? `died of ${signal}` : `exit code ${code}`;
      child.on("close", () => finish(code ?? -1, reason));
      // Whatever the child left behind ends with it: it would disturb the next test.
      if (!inherit) killGroup(child);
      // A grandchild in another group would hold the pipes open, and the driver with them.
      drain = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, drainMs);
    });
  });
}

/** Runs `tasks` (functions that return promises), at most `width` at a time, results in order. */
export async function runAll(tasks, width) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < tasks.length) {
      const index = next++;
      results[index] = await tasks[index]();
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}
