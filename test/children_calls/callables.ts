/** Callables that take a process of their own: addresses that no CPU takes, and collection. */
import { strict as assert } from "node:assert";
import { callable, status } from "../../mod.ts";
import { collectGarbage, collectUntil } from "../calls_support.ts";
import { arm64 } from "../platform_support.ts";
import { exceptionOf, openFixture, runCase } from "../support.ts";

const { symbols } = openFixture();

/** At many stack depths, so that nothing left on the stack by an earlier call helps. */
function nonCanonical(): void {
  for (const address of [2n ** 47n, 2n ** 63n, 0x1234_5678_9abc_def0n]) {
    const made = callable(address, {});
    const wide = callable(address, { parameters: Array.from({ length: 9 }, () => "u64" as const) });
    const check = (): void => {
      for (
        const body of [made, () => (wide as (...all: unknown[]) => void)(...Array(9).fill(1n))]
      ) {
        const { info } = exceptionOf(body);
        // arm64 reports such an address as one where nothing is mapped.
        assert.equal(info.type, arm64 ? "access-violation" : "general-protection");
        if (!arm64) assert.equal(info.address, null);
      }
    };
    const deep = (levels: number): void => {
      if (levels === 0) return check();
      [3, 1, 2].sort();
      deep(levels - 1);
    };
    for (let levels = 0; levels < 60; levels++) {
      deep(levels);
      assert.equal(symbols.fx_echo_i32(levels), levels);
    }
  }
}

function make(count: number): void {
  for (let index = 0; index < count; index++) {
    const made = callable(0x5000n + BigInt(index), {});
    if (index % 50 === 0) assert.equal(exceptionOf(() => made()).info.access, "execute");
  }
}

async function collected(): Promise<void> {
  const before = status().openSymbols;
  make(300);
  assert.ok(status().openSymbols > before);
  // The last ones may still be referenced from the stack.
  await collectUntil(() => status().openSymbols <= before + 5);
  assert.equal(symbols.fx_echo_i32(5), 5);
}

async function collectedKeepsOthers(): Promise<void> {
  const kept = callable(0x5001n, {});
  const before = status().openSymbols;
  make(100);
  await collectUntil(() => status().openSymbols <= before + 5);
  const others = Array.from({ length: 50 }, (_, index) => callable(0x9000n + BigInt(index), {}));
  for (let round = 0; round < 5; round++) {
    collectGarbage();
    assert.equal(exceptionOf(() => kept()).info.instructionPointer, 0x5001n);
  }
  for (const [index, other] of others.entries()) {
    assert.equal(exceptionOf(() => other()).info.instructionPointer, 0x9000n + BigInt(index));
  }
}

/** More callables than there are thunks, many times over. */
async function manyCollected(): Promise<void> {
  const before = status().openSymbols;
  for (let round = 0; round < 4; round++) {
    make(1100);
    await collectUntil(() => status().openSymbols <= before + 20);
  }
}

await runCase(import.meta.url, { nonCanonical, collected, collectedKeepsOthers, manyCollected });
