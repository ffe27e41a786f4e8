/**
 * Makes docs/pictures/report.svg, the report of a real fault as a terminal shows it, and
 * docs/pictures/address_space.svg, the picture that such a report draws itself. The same of a crash
 * that nobody caught: crash.svg, what the signal handler wrote to standard error, and
 * crash_address_space.svg, what `faultline report show --svg` makes of the file.
 *
 *     node test/report_picture.mjs
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { run } from "./driver/process.mjs";
import { bun, ensureNode, ensureZig, main, root, runtimeEnvironment, zig } from "./setup.mjs";
import { SetupError, zigEnvironment } from "./setup.mjs";

const width = 100;
const timeoutMs = 300_000;
const folder = join(root, "docs", "pictures");
const colors = { 1: "#ffffff", 2: "#8b949e", 31: "#ff7b72", 32: "#7ee787" };
const moreColors = { 33: "#e3b341", 36: "#79c0ff" };

/** Compiles the fixture where its path is short; gives that. */
async function compileFixture() {
  const build = join(runtimeEnvironment.FAULTLINE_BUILD, "picture");
  mkdirSync(build, { recursive: true });
  const library = join(build, "libreport.so");
  const flags = ["-target", "x86_64-linux-gnu.2.17", "-shared", "-fPIC", "-g", "-O1"];
  const source = join(root, "test", "report_fixture.c");
  const compiled = await run(
    [...zig(), "cc", ...flags, "-fno-omit-frame-pointer", "-o", library, source],
    { cwd: root, env: zigEnvironment, timeoutMs },
  );
  if (!compiled.ok) throw new SetupError(`Cannot compile the fixture: ${compiled.stderr}`);
  return library;
}

/** What the child prints of a fault under Bun. */
async function printed(library, ...what) {
  const [mode, ...rest] = what;
  const child = join(root, "test", "children", "report.ts");
  const command = [bun(), child, mode, library, ...rest];
  const result = await run(command, { cwd: root, env: runtimeEnvironment, timeoutMs });
  if (!result.ok) throw new SetupError(`Cannot run the fault: ${result.stderr}`);
  // Nothing but where the repository lies is replaced.
  return result.stdout.trimEnd().replaceAll(root, "~/faultline");
}

/** What a crash leaves on standard error, and the picture of the report in its directory. */
async function crash(library) {
  const directory = join(dirname(library), "reports");
  rmSync(directory, { recursive: true, force: true });
  const child = join(root, "test", "children", "report_crash.ts");
  const env = { ...runtimeEnvironment, BUN_ENABLE_CRASH_REPORTING: "0" };
  const died = await run([bun(), child, library, directory], { cwd: root, env, timeoutMs });
  if (!died.stderr.includes("\nSUMMARY: ")) {
    throw new SetupError(`The crash made no report (${died.reason}): ${died.stderr}`);
  }
  const command = [bun(), join(root, "lib", "cli", "main.ts"), "report", "show", directory];
  const shown = await run([...command, "--svg"], { cwd: root, env, timeoutMs });
  if (!shown.ok) throw new SetupError(`Cannot show the report: ${shown.stderr}`);
  const text = shortened(died.stderr.replaceAll(root, "~/faultline").trimEnd());
  return { text, svg: shown.stdout.trimEnd() };
}

/** Without what a reader of the README needs no more than once; it says what is left out. */
function shortened(text) {
  const threads = text.match(/^Thread /gm)?.length ?? 0;
  const frames = text.slice(0, text.indexOf("\nRegisters"));
  const runtime = [...frames.matchAll(/^ {2}#\d+ .* bun\+0x.*$/gm)];
  const others = runtime.slice(1);
  let result = text;
  for (const [line] of others) result = result.replace(`${line}\n`, "");
  result = result.replace(`${runtime[0][0]}\n`, `$&  (${others.length} more of the runtime)\n`);
  result = result.replace(/^Thread [\s\S]*?(?=^Files)/m, `(${threads} other threads)\n\n`);
  return result.split("\n").flatMap((line) => wrapped(line)).join("\n");
}

function wrapped(line) {
  if (line.length <= width) return [line];
  const at = line.lastIndexOf(" ", width);
  return [line.slice(0, at), ...wrapped(`    ${line.slice(at + 1)}`)];
}

const escaped = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** One line of the terminal as spans of SVG text. */
function spansOf(line, state) {
  const escape = String.fromCharCode(27);
  return line.split(escape).map((part, index) => {
    const [, codes, text] = index === 0 ? [null, null, part] : /^\[([\d;]*)m(.*)$/.exec(part);
    if (codes !== null) state.codes = codes.split(";").filter((code) => code !== "0");
    if (text === "") return "";
    const color = state.codes.map((code) => colors[code] ?? moreColors[code]).at(-1);
    const weight = state.codes.includes("1") ? ' font-weight="bold"' : "";
    return `<tspan${color === undefined ? "" : ` fill="${color}"`}${weight}>${
      escaped(text)
    }</tspan>`;
  }).join("");
}

/** Terminal output as a picture that needs nothing but a monospaced font. */
function picture(text, title = "The report of a segmentation fault in a C library") {
  const [cell, height, margin] = [8.43, 18, 16];
  const lines = text.split("\n");
  const state = { codes: [] };
  const size = [Math.ceil(width * cell + 2 * margin), lines.length * height + 2 * margin];
  const rows = lines.map((line, index) =>
    `<text x="${margin}" y="${margin + 13 + index * height}">${spansOf(line, state)}</text>`
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size[0]}" height="${size[1]}" ` +
    `viewBox="0 0 ${size[0]} ${size[1]}" font-family="ui-monospace, 'DejaVu Sans Mono', ` +
    'Menlo, Consolas, monospace" font-size="14" fill="#c9d1d9" xml:space="preserve">',
    `<title>${title}</title>`,
    // Newer browsers follow the style alone, other programs the attribute.
    "<style>text { white-space: pre }</style>",
    '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
    ...rows,
    "</svg>",
    "",
  ].join("\n");
}

await main(async () => {
  await ensureNode();
  await ensureZig();
  const library = await compileFixture();
  mkdirSync(folder, { recursive: true });
  const crashed = await crash(library);
  const title = "The crash report that the signal handler wrote";
  const pictures = {
    "crash.svg": picture(crashed.text, title),
    "crash_address_space.svg": `${crashed.svg}\n`,
    "report.svg": picture(await printed(library, "picture", String(width))),
    "address_space.svg": `${await printed(library, "map")}\n`,
  };
  for (const [name, svg] of Object.entries(pictures)) {
    const file = join(folder, name);
    const existed = existsSync(file);
    writeFileSync(file, svg);
    console.log(`${existed ? "Renewed" : "Made"} ${file}`);
  }
  return 0;
});
