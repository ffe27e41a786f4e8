/**
 * Values in error messages.
 *
 * @module
 */

/** A value in a few words. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  }
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "object" && value !== null) {
    const { constructor } = value;
    return typeof constructor === "function" ? `an object (${constructor.name})` : "an object";
  }
  return typeof value === "function" ? "a function" : String(value);
}
