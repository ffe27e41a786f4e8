/**
 * Folders of crash reports, and a collector on the loopback address that they are sent to.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { HardwareException } from "../mod.ts";
import { childArgs } from "./support.ts";

/** An empty folder of its own, which goes away with `using`. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "crashes-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** ID.json as test/crash_report.schema.json describes it, of an exception that was caught here. */
export function storedJson(
  error: HardwareException,
  { id, signature }: { readonly id: string; readonly signature?: string },
): Record<string, unknown> {
  const { info } = error.toJSON() as { info: Record<string, unknown> };
  const { backtrace, ...exception } = info;
  const { modules, signature: own } = error.toReport();
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  const { instructionPointer } = error.info;
  const page = instructionPointer - instructionPointer % 4096n;
  return {
    format: "faultline.crash",
    version: 1,
    id,
    time: "2026-01-02T03:04:05.678Z",
    reason: "crash",
    signature: signature ?? own,
    exception,
    backtrace,
    threads: [],
    threadsSkipped: null,
    breadcrumbs: [],
    modules: modules.map(({ path, base, byteLength, buildId }) => ({
      ...{ path, buildId },
      base: hex(base),
      byteLength: hex(byteLength),
    })),
    mappings: [{
      start: hex(page),
      end: hex(page + 4096n),
      protection: "r-x",
      offset: "0x0",
      path: error.info.backtrace()[0]!.module,
    }],
    runtime: process.execPath,
    stages: [],
    holds: "registers and a part of the stack",
  };
}

/** Writes a report's files; gives their contents. */
export function spool(
  folder: string,
  id: string,
  error: HardwareException,
  signature?: string,
): { readonly json: string; readonly dump: Uint8Array; readonly text: string } {
  const named = signature === undefined ? { id } : { id, signature };
  const json = `${JSON.stringify(storedJson(error, named))}\n`;
  const dump = error.toMinidump();
  const text = `${error.toReport().toText({ color: false, width: 80 })}\n`;
  writeFileSync(join(folder, `${id}.json`), json);
  writeFileSync(join(folder, `${id}.dmp`), dump);
  writeFileSync(join(folder, `${id}.txt`), text);
  return { json, dump, text };
}

/** One request that the collector got. */
export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

/** What it answers; "hang" never does. */
export type Reply =
  | { readonly status: number; readonly text?: string; readonly headers?: Record<string, string> }
  | "hang";

/** A collector that keeps what it gets. */
export interface Collector extends AsyncDisposable {
  readonly received: readonly Received[];
  readonly port: number;
  /** Where to send to. */
  readonly url: URL;
  /** Called at each request; gives what to answer. */
  reply: (request: Received) => Reply;
}

/** Starts a collector. */
export async function startCollector(): Promise<Collector> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const body = new Uint8Array(chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
      let at = 0;
      for (const chunk of chunks) {
        body.set(chunk, at);
        at += chunk.byteLength;
      }
      const got = { method, url, headers, body };
      received.push(got);
      const reply = collector.reply(got);
      if (reply === "hang") return;
      response.writeHead(reply.status, reply.headers ?? {}).end(reply.text ?? "accepted");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const collector: Collector = {
    received,
    port,
    url: new URL(`http://127.0.0.1:${port}/api/1/minidump/?sentry_key=k3y`),
    reply: () => ({ status: 200 }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return collector;
}

/** How a program ended. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const timeoutMs = 30_000;

/** How a program is run. */
export interface RunOptions {
  readonly args?: readonly string[];
  /** Deno's flags; by default everything is allowed. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program of `children/` beside this one, which goes on serving. */
export function runBeside(
  name: string,
  args: readonly string[],
  flags?: readonly string[],
): Promise<Ended> {
  return runProgram(`./children/${name}.ts`, flags === undefined ? { args } : { args, flags });
}

/** Runs a program beside this one; `name` is relative to this folder. */
export function runProgram(name: string, options: RunOptions): Promise<Ended> {
  const { args = [], flags, env = {} } = options;
  const file = fileURLToPath(new URL(name, import.meta.url));
  const child = spawn(process.execPath, [...childArgs(file, flags), ...args], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${name} ran longer than ${timeoutMs} ms\n${stdout}\n${stderr}`));
    }, timeoutMs);
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(timer);
      resolve({ status, stdout, stderr });
    });
  });
}

/** Asserts that a promise is rejected with this code, and gives the message. */
export async function rejectedWith(code: string, promise: Promise<unknown>): Promise<string> {
  let message = "";
  await assert.rejects(promise, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    message = error.message;
    return true;
  });
  return message;
}
