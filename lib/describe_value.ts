/**
 * Values in error messages.
 *
 * @module
 */

/** A value in a few words; never throws, whatever its properties do. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  }
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  try {
    if (Array.isArray(value)) return "an array";
    const { constructor } = value;
    return typeof constructor === "function" ? `an object (${constructor.name})` : "an object";
  } catch {
    return "an object"; // Of a proxy or a getter that throws: what it throws says nothing here.
  }
}
