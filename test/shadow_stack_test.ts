/** What a thread with a shadow stack is told, which a recovery would leave too deep. */
import { test } from "node:test";
import { noFilters } from "./platform_support.ts";
import { childPasses } from "./support.ts";

test(
  "install() and dlopen() refuse a thread with a shadow stack, with code NOT_SUPPORTED",
  noFilters,
  () => childPasses("shadow_stack", "refuses"),
);
