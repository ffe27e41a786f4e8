/** Hardware exceptions for Bun and Deno. @module */
export { dlopen } from "./lib/dlopen.ts";
export { HardwareException } from "./lib/hardware_exception.ts";
