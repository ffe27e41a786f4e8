/** Reads how many tests passed out of what the test runners write. */

const attributes = String.raw`(?:[^>"]|"[^"]*")*?`;
const testcase = new RegExp(
  `<testcase\\b(${attributes})(?:/>|>([\\s\\S]*?)</testcase>)`,
  "g",
);

const entities = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescape(text) {
  return text.replaceAll(/&(?:#(\d+)|(\w+));/g, (whole, code, name) => {
    if (code !== undefined) return String.fromCodePoint(Number(code));
    return entities[name] ?? whole;
  });
}

/**
 * Counts the test cases of a JUnit file. The totals that the file states are not used: Bun and Deno
 * disagree on whether a group is a test, and a group here is one only when it failed by itself.
 */
export function junitCounts(xml) {
  const cases = [...xml.matchAll(testcase)].map(([, head, body = ""]) => {
    const name = unescape(/\bname="([^"]*)"/.exec(head)?.[1] ?? "");
    const failed = /<(?:failure|error)\b/.test(body);
    return { name, failed, skipped: /<skipped\b/.test(body) };
  });
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const failures = [];
  for (const { name, failed, skipped } of cases) {
    const children = cases.filter((other) => other.name.startsWith(`${name} > `));
    if (children.length > 0 && (!failed || children.some((child) => child.failed))) continue;
    if (failed) failures.push(name);
    counts[failed ? "failed" : skipped ? "skipped" : "passed"] += 1;
  }
  return { ...counts, failures };
}

/**
 * Counts from `zig build test --summary all`, whose summary line reads
 * `Build Summary: 3/3 steps succeeded; 1/2 tests passed (1 skipped)`. Null when it says nothing
 * about tests, as when they do not compile.
 */
export function zigCounts(output) {
  const line = /(\d+)\/(\d+) tests passed(?: \(([^)]*)\))?/.exec(output);
  if (line === null) return null;
  const [, passed, total, rest = ""] = line;
  const skipped = Number(/(\d+) skipped/.exec(rest)?.[1] ?? 0);
  // Whatever neither passed nor was skipped (failed, leaked, crashed, timed out) is a failure.
  const failed = Number(total) - Number(passed) - skipped;
  return { passed: Number(passed), failed, skipped };
}
