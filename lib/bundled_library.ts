/**
 * Native libraries that a bundler put into the program. Bundlers see literals only, and drop what
 * is for another platform than theirs.
 *
 * The JavaScript form of this file in the npm package, and the package for JSR, have no literals
 * (test/prepack.mjs, test/jsr.mjs): the one runtime whose bundler understands them takes the
 * TypeScript form from npm.
 *
 * @module
 */

/**
 * Where the bundler put a library of this platform; null when it put none. The path may be relative
 * to the program's module.
 */
export function bundledLibrary(name: "faultline.so" | "faultline_symbols.so"): string | null {
  try {
    // deno-lint-ignore no-process-global
    if (process.platform === "linux" && process.arch === "x64") {
      const path: unknown = name === "faultline.so"
        ? require("./native/linux-x64/faultline.so")
        : require("./native/linux-x64/faultline_symbols.so");
      return typeof path === "string" ? path : null;
    }
    // deno-lint-ignore no-process-global
    if (process.platform === "linux" && process.arch === "arm64") {
      const path: unknown = name === "faultline.so"
        ? require("./native/linux-arm64/faultline.so")
        : require("./native/linux-arm64/faultline_symbols.so");
      return typeof path === "string" ? path : null;
    }
  } catch {
    // Nothing is bundled: the literal is a module that is not there, or no JavaScript.
  }
  return null;
}
