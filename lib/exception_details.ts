/**
 * What an exception's info asks this process for: mappings, code bytes, the functions that were
 * running. Nothing of it is done before somebody looks.
 *
 * @module
 */
import { mappingLayout } from "./abi.ts";
import { backtraceOf, symbolAddressOf } from "./backtrace.ts";
import { copyException, type ExceptionBytes, type ExceptionDetails } from "./exception_info.ts";
import type { ExplainedMapping, MappingsAround } from "./explanation.ts";
import { instructionText } from "./instruction_text.ts";
import { checkStatus, native } from "./native.ts";
import { protectionText } from "./protection.ts";

const decoder = new TextDecoder();

function readMapping(bytes: Uint8Array, at: number): ExplainedMapping | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  if (view.getUint32(mappingLayout.size.offset, true) === 0) return null;
  const pathStart = at + mappingLayout.path.offset;
  const pathLength = view.getUint32(mappingLayout.path_length.offset, true);
  return {
    start: view.getBigUint64(mappingLayout.start.offset, true),
    end: view.getBigUint64(mappingLayout.end.offset, true),
    protection: protectionText(view.getUint32(mappingLayout.protection.offset, true)),
    path: pathLength === 0
      ? null
      : decoder.decode(bytes.subarray(pathStart, pathStart + pathLength)),
  };
}

/** The mapping that holds an address and its neighbours, as they are now. */
export function mappingsAround(address: bigint): MappingsAround {
  const { byteLength } = mappingLayout;
  const bytes = new Uint8Array(3 * byteLength);
  const { functions } = native();
  const status = functions.fl_mappings_around!(address, bytes, bytes.byteLength) as number;
  checkStatus(status, "Cannot look up the mappings around an address");
  return {
    below: readMapping(bytes, 0),
    at: readMapping(bytes, byteLength),
    above: readMapping(bytes, 2 * byteLength),
  };
}

/** The first bytes at `address` that can be read now, at most `byteLength`. */
export function readAvailable(address: bigint, byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  const { functions } = native();
  const count = functions.fl_read_available!(address, bytes, byteLength) as number;
  checkStatus(count, "Cannot read memory");
  return bytes.slice(0, count);
}

const namesMax = 4096;

function suspects(bytes: ExceptionBytes): readonly string[] {
  const { chunk } = copyException(bytes);
  const exception = new Uint8Array(chunk.buffer);
  const names = new Uint8Array(namesMax);
  const { functions } = native();
  const used = functions.fl_suspects!(
    exception,
    exception.byteLength,
    names,
    names.byteLength,
  ) as number;
  checkStatus(used, "Cannot find out which functions were running");
  return decoder.decode(names.subarray(0, used)).split("\0").slice(0, -1);
}

/** The details of exceptions of this process. */
export const details: ExceptionDetails = Object.freeze({
  mappingsAround,
  readAvailable,
  instructionText,
  suspects,
  symbolAddress: symbolAddressOf,
  backtrace: backtraceOf,
});
