/**
 * Draws a map of addresses as a picture that needs nothing else: no font, script or style sheet.
 *
 * @module
 */
import type { AddressRange, Pointer, Region, RegionKind, Strip } from "./address_map.ts";
import { hex } from "./frame_text.ts";
import { harmless } from "./styled_text.ts";
import { type Label, type PlacedLabel, placeLabels } from "./svg_labels.ts";

/** What is drawn. */
export interface AddressPicture {
  /** Makes names inside the picture unique where several are put into one page. */
  readonly id: string;
  readonly title: string;
  /** Sentences below the title, each in lines of its own. */
  readonly subtitles: readonly string[];
  readonly strips: readonly Strip[];
}

const width = 960;
const margin = 24;
const length = width - 2 * margin;
const barHeight = 34;
const thinWidth = 1.5;
const rowHeight = 17;
const labelGap = 10;
const titleHeight = 30;
const stripGap = 26;
const characterWidth = 6.7;
const wordsWidth = 7.1;

const kinds: Readonly<Record<RegionKind, { readonly name: string; readonly class: string }>> = {
  "code": { name: "code", class: "code" },
  "read-only": { name: "read-only data", class: "constant" },
  "data": { name: "writable data", class: "data" },
  "writable-code": { name: "writable code", class: "made" },
  "heap": { name: "heap", class: "heap" },
  "stack": { name: "stack", class: "stack" },
  "growth": { name: "where the stack may grow", class: "growth" },
  "guard": { name: "guard: no access", class: "guard" },
  "no-access": { name: "reserved, no access", class: "reserved" },
  "null": { name: "null page: never mapped", class: "null" },
  "nothing": { name: "nothing mapped", class: "nothing" },
  "unknown": { name: "not listed in the report", class: "unknown" },
};

/** Fill by class, on light and on dark ground. */
const fills: Readonly<Record<string, readonly [string, string]>> = {
  code: ["#a9cdfb", "#1f4b80"],
  constant: ["#d3dae3", "#3b4653"],
  data: ["#f6dc9a", "#6b5113"],
  made: ["#f3b7d4", "#74294f"],
  heap: ["#b5e2bd", "#1f5a33"],
  stack: ["#d6c6f5", "#4c3a80"],
};

const style = [
  "text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; font-size: 13px; }",
  ".mono { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; }",
  ".mono, .small { font-size: 11px; }",
  ".head { font-size: 18px; font-weight: 600; }",
  ".strong { font-weight: 600; }",
  ".ground { fill: #ffffff; } .ink { fill: #1f2328; } .dim { fill: #59636e; }",
  ".halo { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; }",
  ".alarm { fill: #c61c24; } .alarm-line { stroke: #c61c24; stroke-width: 2; fill: none; }",
  ".line { stroke: #59636e; stroke-width: 1; fill: none; }",
  ".edge { stroke: #59636e; stroke-width: 1; fill: none; }",
  ".separator { stroke: #ffffff; stroke-width: 1; } .unknown { fill: #f6f8fa; }",
  ".mark { fill: #59636e; }",
  ".dot { fill: #afb8c1; } .bars { stroke: #c61c24; } .greybars { stroke: #8c959f; }",
  ...Object.entries(fills).map(([name, [light]]) => `.${name} { fill: ${light}; }`),
  "@media (prefers-color-scheme: dark) {",
  ".ground { fill: #0d1117; } .ink { fill: #e6edf3; } .dim { fill: #9198a1; }",
  ".halo { stroke: #0d1117; } .alarm { fill: #ff7b72; } .alarm-line { stroke: #ff7b72; }",
  ".line, .edge { stroke: #9198a1; } .separator { stroke: #0d1117; }",
  ".unknown { fill: #151b23; }",
  ".mark { fill: #9198a1; }",
  ".dot { fill: #3d444d; } .bars { stroke: #ff7b72; } .greybars { stroke: #656c76; }",
  ...Object.entries(fills).map(([name, [, dark]]) => `.${name} { fill: ${dark}; }`),
  "}",
].join("\n");

/** Text as XML holds it: what it cannot hold, and what would steer a reader, becomes U+FFFD. */
function escaped(text: string): string {
  return harmless(text.toWellFormed()).replaceAll(/[\ufffe\uffff]/g, "\ufffd")
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function rounded(value: number): string {
  return String(Math.round(value * 100) / 100);
}

interface TextPlace {
  readonly x: number;
  readonly y: number;
  readonly anchor?: "start" | "middle" | "end";
}

function textAt({ x, y, anchor = "start" }: TextPlace, classes: string, text: string): string {
  const at = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${rounded(x)}" y="${rounded(y)}"${at} class="${classes}">${
    escaped(text)
  }</text>`;
}

/** The patterns that fill what may not be accessed or is not there. */
function patterns(id: string): string {
  const hatch = (name: string, line: string): string =>
    `<pattern id="${name}-${id}" width="7" height="7" patternUnits="userSpaceOnUse" ` +
    `patternTransform="rotate(45)"><path d="M0 0V7" class="${line}" stroke-width="3"/></pattern>`;
  const dots = `<pattern id="dots-${id}" width="8" height="8" patternUnits="userSpaceOnUse">` +
    '<circle cx="4" cy="4" r="1" class="dot"/></pattern>';
  return `<defs>${hatch("bars", "bars")}${hatch("greybars", "greybars")}${dots}</defs>`;
}

const patternOf: Readonly<Partial<Record<RegionKind, string>>> = {
  "guard": "bars",
  "no-access": "greybars",
  "null": "dots",
  "nothing": "dots",
  "growth": "dots",
};

/** The attributes that fill a shape of a kind. */
function fillOf(kind: RegionKind, id: string): string {
  const pattern = patternOf[kind];
  return pattern === undefined ? `class="${kinds[kind].class}"` : `fill="url(#${pattern}-${id})"`;
}

/** Where an address lies along a strip, in pixels. */
function xOf(address: bigint, { start, end }: AddressRange): number {
  return length * Number(address - start) / Number(end - start);
}

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** "64 KiB" for 2 ** 16. */
export function sizeText(byteLength: bigint): string {
  let unit = 0;
  let [value, rest] = [byteLength, 0n];
  while (value >= 1024n && unit + 1 < units.length) {
    rest = value % 1024n;
    value /= 1024n;
    unit += 1;
  }
  const digits = rest === 0n || value >= 100n
    ? String(value)
    : (Number(value) + Number(rest) / 1024).toFixed(1);
  return byteLength === 1n ? "1 byte" : `${digits} ${units[unit]}`;
}

const scaleMax = 150;

/** A bar of a round length that says how much a strip shows. */
function scaleBar(range: AddressRange, y: number): string {
  let size = 1n;
  while (xOf(range.start + 2n * size, range) <= scaleMax) size *= 2n;
  const right = width - margin;
  const left = right - xOf(range.start + size, range);
  const path = `M${rounded(left)} ${y - 4}v8M${rounded(left)} ${y}H${right}M${right} ${y - 4}v8`;
  return `<path d="${path}" class="line"/>` +
    textAt({ x: left - 8, y: y + 4, anchor: "end" }, "small dim", sizeText(size));
}

/** What a region is, in full. */
function regionText({ start, end, kind, name }: Region): string {
  const what = name === "" ? kinds[kind].name : `${name} (${kinds[kind].name})`;
  return `${hex(start)} to ${hex(end - 1n)}, ${sizeText(end - start)}: ${what}`;
}

function regionLabel({ name }: Region, room: number): string | null {
  const fits = (text: string): boolean => text !== "" && text.length * wordsWidth + 8 <= room;
  return [name, name.split(" ")[0] ?? ""].find(fits) ?? null;
}

/** A region and where it is drawn. */
interface Drawn {
  readonly region: Region;
  readonly left: number;
  readonly right: number;
  readonly isThin: boolean;
}

/** The regions that can be seen; hundreds of mappings may share a pixel. */
function drawnRegions(strip: Strip): readonly Drawn[] {
  let drawnTo = -1;
  return strip.regions.flatMap((region) => {
    const left = Math.max(xOf(region.start, strip), 0);
    const right = Math.min(xOf(region.end, strip), length);
    const isThin = right - left < 1;
    const isBare = region.kind === "nothing" || region.kind === "unknown";
    if (isThin && (isBare || left < drawnTo)) return [];
    drawnTo = isThin ? left + thinWidth : right;
    return [{ region, left, right, isThin }];
  });
}

/** A region narrower than a pixel, as a line. */
function thinBox({ region, left }: Drawn, y: number): string {
  const classes = region.kind === "guard" ? "alarm" : "mark";
  return `<rect x="${
    rounded(margin + left)
  }" y="${y}" width="${thinWidth}" height="${barHeight}" ` +
    `class="${classes}"><title>${escaped(regionText(region))}</title></rect>`;
}

/** A region as a box with its name. */
function wideBox({ region, left, right }: Drawn, y: number, id: string): string {
  const x = margin + left;
  const size = `width="${rounded(right - left)}" height="${barHeight}"`;
  const shape = `<rect x="${rounded(x)}" y="${y}" ${size} ${fillOf(region.kind, id)}><title>${
    escaped(regionText(region))
  }</title></rect>`;
  const edge = left === 0 ? "" : `<path d="M${rounded(x)} ${y}v${barHeight}" class="separator"/>`;
  const label = regionLabel(region, right - left);
  if (label === null) return shape + edge;
  const middle = { x: x + (right - left) / 2, y: y + barHeight / 2 + 4, anchor: "middle" } as const;
  const classes = patternOf[region.kind] === undefined ? "small ink" : "small ink halo";
  return shape + edge + textAt(middle, classes, label);
}

/** The regions of a strip, the lines on top. */
function bar(strip: Strip, y: number, id: string): string {
  const drawn = drawnRegions(strip);
  const frame = `x="${margin}" y="${y}" width="${length}" height="${barHeight}"`;
  return [
    ...drawn.filter(({ isThin }) => !isThin).map((one) => wideBox(one, y, id)),
    ...drawn.filter(({ isThin }) => isThin).map((one) => thinBox(one, y)),
    `<rect ${frame} class="edge"/>`,
  ].join("");
}

interface PointerLabel extends Label {
  readonly pointer: Pointer;
  readonly text: string;
}

function pointerLabels(strip: Strip, wanted: readonly Pointer["kind"][]): readonly PointerLabel[] {
  return strip.pointers.filter(({ kind }) => wanted.includes(kind)).map((pointer) => {
    const text = pointer.kind === "place" || pointer.kind === "frame"
      ? pointer.label
      : `${pointer.label} ${hex(pointer.address)}`;
    return {
      x: xOf(pointer.address, strip),
      width: 6 + text.length * characterWidth,
      pointer,
      text,
    };
  });
}

/**
 * One pointer: its text, and a line to the strip's edge at `y`. `away` is -1 above and 1 below,
 * where the first row begins `skip` from the strip.
 */
function pointerMark(
  { label, row, isRight }: PlacedLabel<PointerLabel>,
  y: number,
  away: 1 | -1,
  skip: number,
): string {
  const isFault = label.pointer.kind === "fault";
  const x = margin + label.x;
  const far = y + away * (skip + labelGap + row * rowHeight + 4);
  const line = `<path d="M${rounded(x)} ${y}V${rounded(far)}" class="${
    isFault ? "alarm-line" : "line"
  }"/>`;
  const tip = `<path d="M${rounded(x)} ${y}l-5 ${away * 8}h10z" class="alarm"/>`;
  const place = isRight
    ? { x: x + 5, y: far + 4 }
    : { x: x - 5, y: far + 4, anchor: "end" } as const;
  const classes = isFault ? "mono alarm strong halo" : "mono ink halo";
  return `${line}${isFault ? tip : ""}${textAt(place, classes, label.text)}`;
}

function rowsOf(placed: readonly PlacedLabel<PointerLabel>[]): number {
  return placed.length === 0 ? 0 : 1 + Math.max(...placed.map(({ row }) => row));
}

/** Where regions meet, as far as there is room beside each other and the lines at `taken`. */
function edgeTexts(strip: Strip, y: number, taken: readonly number[]): readonly string[] {
  let free = 0;
  return strip.regions.flatMap(({ start }) => {
    const x = xOf(start, strip);
    const half = hex(start).length * characterWidth / 2;
    const isTaken = taken.some((line) => Math.abs(line - x) < half + 4);
    if (x - half < free || x + half > length || isTaken) return [];
    free = x + half + 16;
    return [textAt({ x: margin + x, y, anchor: "middle" }, "mono dim", hex(start))];
  });
}

/** One strip from `top` on, and where it ends. */
function stripAt(strip: Strip, top: number, id: string): { svg: string; bottom: number } {
  const above = placeLabels(pointerLabels(strip, ["fault", "frame"]), length);
  const below = placeLabels(pointerLabels(strip, ["register", "place"]), length);
  const heightOf = (rows: number): number => rows === 0 ? 0 : labelGap + rows * rowHeight;
  const y = top + titleHeight + heightOf(rowsOf(above));
  const foot = y + barHeight;
  const edges = edgeTexts(strip, foot + 15, below.map(({ label }) => label.x));
  const edgesHeight = edges.length === 0 ? 0 : 16;
  const range = `${hex(strip.start)} to ${hex(strip.end)}`;
  const svg = [
    `<g><title>${escaped(strip.title)}</title>`,
    `<text x="${margin}" y="${top + 14}"><tspan class="strong ink">${
      escaped(strip.title)
    }</tspan>` +
    `<tspan dx="14" class="mono dim">${range}</tspan></text>`,
    scaleBar(strip, top + 10),
    bar(strip, y, id),
    ...above.map((label) => pointerMark(label, y, -1, 0)),
    ...below.map((label) => pointerMark(label, foot, 1, edgesHeight)),
    ...edges,
    "</g>",
  ].join("\n");
  return { svg, bottom: foot + edgesHeight + heightOf(rowsOf(below)) };
}

/** What the fills mean: the kinds that the strips show. */
function legendAt(strips: readonly Strip[], y: number, id: string): string {
  const drawn = strips.flatMap(drawnRegions);
  const seen = drawn.filter(({ isThin, region }) => !isThin || region.kind === "guard");
  const shown = new Set(seen.map(({ region }) => region.kind));
  let x = margin;
  let line = y;
  return (Object.keys(kinds) as RegionKind[]).filter((kind) => shown.has(kind)).map((kind) => {
    const { name } = kinds[kind];
    const needed = 24 + name.length * 6.4 + 18;
    if (x + needed > width - margin + 18) [x, line] = [margin, line + 20];
    const box = `<rect x="${rounded(x)}" y="${line}" width="16" height="12" ${fillOf(kind, id)}/>` +
      `<rect x="${rounded(x)}" y="${line}" width="16" height="12" class="edge"/>`;
    const text = textAt({ x: x + 22, y: line + 10 }, "small dim", name);
    x += needed;
    return box + text;
  }).join("\n");
}

const lineCharacters = 118;
const headCharacters = 78;

/** A sentence in lines that fit. */
function wrapped(text: string, characters: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    const isFull = last === undefined || last.length + 1 + word.length > characters;
    if (isFull) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** The strips in words, for those who cannot see them. */
function description(strips: readonly Strip[]): string {
  return strips.map(({ title, start, end, regions, pointers }) => {
    const near = regions.filter(({ kind }) => kind !== "nothing" && kind !== "unknown");
    const shown = near.slice(0, 12).map(regionText);
    const more = near.length > shown.length ? [`and ${near.length - shown.length} more`] : [];
    const marks = pointers.map(({ label, address }) => `${label} at ${hex(address)}`);
    const parts = [
      `${title}, from ${hex(start)} to ${hex(end)}`,
      ...(near.length === 0 ? [] : [`mapped: ${[...shown, ...more].join("; ")}`]),
      ...(marks.length === 0 ? [] : [`pointers: ${marks.join("; ")}`]),
    ];
    return `${parts.join(". ")}.`;
  }).join(" ");
}

/** The picture, as a document of its own. */
export function addressSvg({ id, title, subtitles, strips }: AddressPicture): string {
  let y = margin - 8;
  const head = [
    ...wrapped(title, headCharacters).map((text) =>
      textAt({ x: margin, y: y += 24 }, "head alarm", text)
    ),
    ...subtitles.flatMap((text) => wrapped(text, lineCharacters)).map((text) =>
      textAt({ x: margin, y: y += 20 }, "dim", text)
    ),
  ];
  y += stripGap;
  const body = strips.map((strip) => {
    const { svg, bottom } = stripAt(strip, y, id);
    y = bottom + stripGap;
    return svg;
  });
  const legend = legendAt(strips, y, id);
  const lowest = [...legend.matchAll(/ y="(\d+)" width="16"/g)].at(-1)?.[1] ?? y;
  const height = Number(lowest) + 12 + margin;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title-${id} text-${id}" ` +
    `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title id="title-${id}">${escaped(title)}</title>`,
    `<desc id="text-${id}">${escaped([...subtitles, description(strips)].join(" "))}</desc>`,
    `<style>\n${style}\n</style>`,
    patterns(id),
    '<rect width="100%" height="100%" rx="10" class="ground"/>',
    ...head,
    ...body,
    legend,
    "</svg>",
    "",
  ].join("\n");
}
