/**
 * The files whose code is mapped into this process: where, and their build ids.
 *
 * @module
 */
import { mappingsAround } from "./exception_details.ts";
import type { ExplainedMapping } from "./explanation.ts";
import { buildIdAt, isLoadedAt } from "./loaded_elf.ts";
import type { LoadedModule } from "./loaded_module.ts";

/** Of a process that maps very much: what lies above is left out. */
const mappingsMax = 16_384;

/** All mappings of this process, lowest first. */
export function allMappings(): readonly ExplainedMapping[] {
  const found: ExplainedMapping[] = [];
  let next = 0n;
  while (found.length < mappingsMax) {
    const { at, above } = mappingsAround(next);
    if (at !== null) found.push(at);
    if (above !== null) found.push(above);
    const last = above ?? at;
    if (last === null || last.end <= next || above === null) break;
    next = last.end;
  }
  return found;
}

/** Mappings of one file that no other file lies between. */
interface Extent {
  readonly path: string;
  readonly base: bigint;
  end: bigint;
  hasCode: boolean;
}

/** Parts of one module lie closer together. Deno maps its own file a second time, far away. */
const gapMax = 1n << 30n;

/** The mappings of files, put together to modules. */
function extentsOf(mappings: readonly ExplainedMapping[]): readonly Extent[] {
  const extents: Extent[] = [];
  for (const mapping of mappings) {
    const { path, start, end, protection } = mapping;
    if (path === null || !path.startsWith("/")) continue;
    const hasCode = protection.includes("x");
    const last = extents.at(-1);
    const isCode = (address: bigint): boolean =>
      mappings.some((other) =>
        other.path === path && other.protection.includes("x") &&
        address >= other.start && address < other.end
      );
    const isNear = last?.path === path && start - last.end < gapMax;
    // What is mapped to be read may end where the module begins.
    if (last !== undefined && isNear && !isLoadedAt(start, isCode)) {
      last.end = end;
      last.hasCode ||= hasCode;
    } else {
      extents.push({ path, base: start, end, hasCode });
    }
  }
  return extents.filter((extent) => extent.hasCode);
}

/** The files that code of this process comes from now, by address. */
export function loadedModules(
  mappings: readonly ExplainedMapping[] = allMappings(),
): readonly LoadedModule[] {
  const found: LoadedModule[] = [];
  for (const { path, base, end } of extentsOf(mappings)) {
    const buildId = buildIdAt(base);
    // A part of a file that is mapped once more belongs to the module that it is.
    if (buildId === undefined && found.some((module) => module.path === path)) continue;
    found.push(Object.freeze({ path, base, byteLength: end - base, buildId: buildId ?? null }));
  }
  return Object.freeze(found);
}
