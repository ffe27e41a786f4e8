/**
 * The platforms that the package has native libraries for, and what is known about each.
 *
 * A port adds an entry here, its literals in bundled_library.ts, and its build in zig/build.zig.
 *
 * @module
 */

/** Where the tests of this project have run on a platform. */
export interface Execution {
  readonly runtime: "bun" | "deno";
  readonly libc: "glibc" | "musl";
  readonly how: "natively" | "in an emulator";
}

/** What is known about a platform. */
export interface Platform {
  /** Names that the C library goes by, for the loader; the first that is there. */
  readonly libcPaths: readonly string[];
  /** Empty for a platform that is built and was never run. */
  readonly executions: readonly Execution[];
}

/** By operating system and architecture, which is also the folder's name in lib/native. */
export const platforms: Readonly<Record<string, Platform>> = Object.freeze({
  "linux-x64": {
    libcPaths: [
      "libc.so.6",
      "/lib/x86_64-linux-gnu/libc.so.6",
      "/lib64/libc.so.6",
      "/usr/lib/libc.so.6",
      "/lib/ld-musl-x86_64.so.1",
    ],
    executions: [
      { runtime: "bun", libc: "glibc", how: "natively" },
      { runtime: "deno", libc: "glibc", how: "natively" },
      { runtime: "bun", libc: "musl", how: "natively" },
    ],
  },
  "linux-arm64": {
    libcPaths: [
      "libc.so.6",
      "/lib/aarch64-linux-gnu/libc.so.6",
      "/lib64/libc.so.6",
      "/usr/lib/libc.so.6",
      "/lib/ld-musl-aarch64.so.1",
    ],
    executions: [
      { runtime: "bun", libc: "glibc", how: "in an emulator" },
      { runtime: "deno", libc: "glibc", how: "in an emulator" },
      { runtime: "bun", libc: "musl", how: "in an emulator" },
    ],
  },
});

/** How the tests ran on this combination; null when they never did. */
export function executionOf(
  platform: string,
  runtime: Execution["runtime"],
  libc: Execution["libc"],
): Execution["how"] | null {
  const found = platforms[platform]?.executions.find((one) =>
    one.runtime === runtime && one.libc === libc
  );
  return found?.how ?? null;
}
