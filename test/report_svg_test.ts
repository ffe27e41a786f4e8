/** Pictures of real exceptions: well-formed, self-contained, and true to the kernel's list. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeSvg } from "../lib/crash_picture.ts";
import { catchException, HardwareException, throwException } from "../mod.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import { exceptionOf, openFixture } from "./support.ts";

const { symbols } = openReportFixture().library;
const fixture = openFixture().symbols;

const python = spawnSync("python3", ["--version"]);
const needsParser = { skip: python.status === 0 ? false : "python3 is not installed" } as const;

/** The texts of a picture's elements by their names, as Python's XML parser finds them. */
interface Texts {
  readonly title: readonly string[];
  readonly desc: readonly string[];
  readonly text: readonly string[];
}

function parsed(svg: string): Texts {
  const program = [
    "import json, sys, xml.etree.ElementTree as tree",
    "root = tree.fromstring(sys.stdin.buffer.read())",
    "space = '{http://www.w3.org/2000/svg}'",
    "texts = lambda name: [''.join(one.itertext()) for one in root.iter(space + name)]",
    "print(json.dumps({name: texts(name) for name in ['title', 'desc', 'text']}))",
  ].join("\n");
  const { status, stdout, stderr } = spawnSync("python3", ["-c", program], {
    encoding: "utf8",
    input: svg,
  });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Texts;
}

const faults: Readonly<Record<string, () => unknown>> = {
  "null pointer": () => symbols.list_sum(shortList),
  "stack overflow": () => fixture.fx_overflow(2n ** 40n),
  "division": () => fixture.fx_divide(1, 0),
  "nothing near": () => fixture.fx_read(0x1234_5678_9000n),
  "no canonical address": () => fixture.fx_read(0x8000_0000_0000_0000n),
  "jump to data": () => fixture.fx_jump(fixture.fx_map(4096n, 3)),
};

test("toSvg() is well-formed XML with a title and a description", needsParser, () => {
  for (const [name, fault] of Object.entries(faults)) {
    const error = exceptionOf(fault);
    const svg = error.toReport().toSvg();
    const { title: [title], desc: [description] } = parsed(svg);
    assert.ok(title!.includes(error.info.code), `${name}: ${title}`);
    const sentence = error.info.explanation.slice(1);
    assert.ok(description!.includes(sentence), `${name}: ${description}`);
    assert.match(svg, /role="img" aria-labelledby="title-(\S+) text-\1"/);
    assert.match(svg, /prefers-color-scheme: dark/);
  }
});

test("toSvg() refers to nothing outside and runs nothing", () => {
  for (const fault of Object.values(faults)) {
    const svg = exceptionOf(fault).toReport().toSvg();
    const addresses = [...svg.matchAll(/[a-z]+:\/\/[^"'\s<)]+/g)].map(([found]) => found);
    assert.deepEqual(addresses, ["http://www.w3.org/2000/svg"]);
    assert.ok(!/<script|<image|<foreignObject|\bhref|@import|\bon[a-z]+=/i.test(svg));
    const references = [...svg.matchAll(/url\(#([^)]+)\)/g)].map(([, id]) => id!);
    for (const id of references) assert.ok(svg.includes(`id="${id}"`), id);
  }
});

test("toSvg() shows the mappings of the kernel's list to scale", () => {
  const pages = fixture.fx_map(8n * 4096n, 3);
  fixture.fx_protect(pages + 4n * 4096n, 4n * 4096n, 0);
  const address = pages + 4n * 4096n + 64n;
  const report = exceptionOf(() => fixture.fx_write(address, 1n)).toReport();
  const maps = readFileSync("/proc/self/maps", "utf8");
  const svg = report.toSvg();
  const group = /<g><title>Next to the address<\/title>[\s\S]*?<\/g>/.exec(svg)![0];
  const found = [...group.matchAll(
    /<rect x="([\d.]+)"[^>]* width="([\d.]+)"[^>]*>\s*<title>0x([0-9a-f]+) to 0x([0-9a-f]+), /g,
  )];
  const boxes = found.map(([, x, width, start, last]) => ({
    x: Number(x),
    width: Number(width),
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${last}`) + 1n,
  }));
  const own = boxes.find(({ start, end }) => start <= address && address < end)!;
  assert.ok(maps.includes(`${own.start.toString(16)}-${own.end.toString(16)} ---p`));
  // Pixels per byte are the same for every box that is shown whole.
  const scale = own.width / Number(own.end - own.start);
  const [tip] = [...group.matchAll(/d="M([\d.]+) \d+l-5 -8h10z"/g)];
  const expected = own.x + Number(address - own.start) * scale;
  assert.ok(Math.abs(Number(tip![1]) - expected) < 0.1, `${tip![1]} ${expected}`);
  for (const { start, end } of boxes.slice(1, -1)) {
    assert.ok(maps.includes(`${start.toString(16)}-`) || maps.includes(`-${start.toString(16)}`));
    assert.ok(end > start);
  }
});

test("toSvg() escapes what names hold", needsParser, () => {
  const { exception: info, backtrace } = exceptionOf(() => symbols.list_sum(shortList)).toReport();
  const symbol = 'operator< "a" & \u0001\ud800\u202e]]>';
  const odd = backtrace.map((frame) => ({ ...frame, symbol, file: null }));
  const at = info.instructionPointer - info.instructionPointer % 4096n;
  const mappings = [{ start: at, end: at + 4096n, protection: "r-x", path: '/x/<b>&"\u0007.so' }];
  const svg = makeSvg({
    ...{ id: 'a"<b', info, backtrace: odd, mappings },
    isComplete: false,
    stack: null,
  });
  const { title: [title = ""], text: texts } = parsed(svg);
  assert.ok(title.includes('operator< "a" & \ufffd\ufffd\ufffd]]>'), title);
  assert.ok(texts.some((text) => text.includes('<b>&"\ufffd.so')));
});

test("toSvg() of exceptions from elsewhere and of thrown ones", needsParser, () => {
  const again = HardwareException.fromJSON(exceptionOf(() => symbols.list_sum(shortList)).toJSON());
  const { text: texts } = parsed(again.toReport().toSvg());
  assert.ok(texts.some((text) => text.includes("What was mapped is not known.")));
  assert.ok(texts.some((text) => text === "read 0x8"));
  const thrown = catchException(() => throwException());
  assert.ok(!thrown.ok);
  assert.equal(parsed(thrown.error.toReport().toSvg()).title[0], "user");
});
