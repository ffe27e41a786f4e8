/**
 * Throws an exception that no CPU raised.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";
import { HardwareException } from "./hardware_exception.ts";
import { hookedException } from "./running_hooks.ts";
import { zxType } from "./signal_table.ts";
import { syntheticException } from "./synthetic_exception.ts";

function userException(): ExceptionInfo {
  return syntheticException({
    type: "user",
    zxType: zxType("user", 0, 0),
    code: "USER",
    codeNumber: 0,
    explanation: "thrown by the program, not by the hardware",
  });
}

/**
 * Throws a "user" exception, which catches like one of the hardware; inside a hook, the exception
 * that the hook was asked about. Also exported as `throw`.
 *
 * hw-exception's `throw` returns false where nothing catches; this one never returns, as
 * JavaScript's own `throw` does not.
 *
 * @param additional Anything; `error.additional` gives it back.
 * @throws {HardwareException} Always, of type "user".
 *
 * @example Usage
 * ```ts
 * import { catchException, throwException } from "faultline";
 *
 * const result = catchException(() => throwException({ page: 7 }));
 * if (!result.ok) console.log(result.error.additional); // { page: 7 }
 * ```
 */
export function throwException(additional?: unknown): never {
  const hooked = hookedException();
  if (hooked !== null) throw new HardwareException({ ...hooked, additional });
  throw new HardwareException({
    info: userException(),
    message: "An exception was thrown by throwException()",
    additional,
  });
}
