/**
 * What a terminal, or the lack of one, says about colour and width.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { describeValue } from "./describe_value.ts";
import { runtime } from "./native.ts";
import type { TextOptions } from "./styled_text.ts";

const widthMin = 60;
const widthDefault = 80;

/** How a text may be asked for. */
export interface AskedText {
  readonly color?: boolean;
  readonly width?: number;
}

function checkWidth(width: number): void {
  if (Number.isSafeInteger(width) && width >= 1) return;
  throw new RangeError(
    "Cannot make a text as its width must be an integer of at least 1: current value is " +
      describeValue(width),
  );
}

/**
 * The options as given, and what the stream suggests for the others: colour on a terminal unless
 * NO_COLOR is set, the terminal's columns, 80 without one.
 *
 * @throws {RangeError} If `width` is no integer of at least 1.
 */
export function textOptions(
  { color, width }: AskedText = {},
  stream: { isTTY?: boolean; columns?: number } = builtin("node:process").stdout,
): TextOptions {
  if (width !== undefined) checkWidth(width);
  const { columns } = stream;
  const available = typeof columns === "number" && columns > 0
    ? Math.max(columns, widthMin)
    : widthDefault;
  return {
    color: color ?? (stream.isTTY === true && !runtime().noColor()),
    width: width ?? available,
  };
}
