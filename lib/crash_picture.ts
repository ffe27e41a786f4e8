/**
 * The picture of an exception: the address space next to what it was about.
 *
 * @module
 */
import { addressStrips, type StackBounds } from "./address_map.ts";
import { addressSvg } from "./address_svg.ts";
import type { ExceptionInfo } from "./exception_info.ts";
import type { ExplainedMapping } from "./explanation.ts";
import { placeText } from "./frame_text.ts";
import { doingText, kindText } from "./headline.ts";
import type { StackFrame } from "./stack_frame.ts";

/** What is drawn. */
export interface PicturedException {
  readonly id: string;
  readonly info: ExceptionInfo;
  readonly backtrace: readonly StackFrame[];
  /** Lowest first; null when they are not known. */
  readonly mappings: readonly ExplainedMapping[] | null;
  /** Whether these are all. */
  readonly isComplete: boolean;
  readonly stack: StackBounds | null;
}

/** The picture as an SVG document. */
export function makeSvg(exception: PicturedException): string {
  const { id, info, backtrace, mappings, isComplete, stack } = exception;
  const [frame] = backtrace;
  const doing = doingText(info);
  const title = [
    kindText(info),
    ...(doing === null ? [] : [doing]),
    ...(frame === undefined ? [] : [`in ${placeText(frame)}`]),
  ].join(" ");
  const bounds = stack === null || stack.high <= stack.low ? null : stack;
  const strips = addressStrips({ info, backtrace, mappings, isComplete, stack: bounds });
  const missing = mappings === null ? ["What was mapped is not known."] : [];
  const { explanation } = info;
  const sentence = `${explanation.charAt(0).toUpperCase()}${explanation.slice(1)}.`;
  const scale = strips.length > 1 ? ["Each strip has its own scale."] : [];
  return addressSvg({
    id: id.replaceAll(/[^\w-]/g, "").slice(0, 36),
    title,
    subtitles: [sentence, ...missing, ...scale],
    strips,
  });
}
