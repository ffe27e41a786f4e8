/** Counts results over all stages, and prints what a reader needs to act on a failure. */

/** A failure prints this many characters from the end of its output. */
const outputLengthMax = 12_000;

const zero = () => ({ passed: 0, failed: 0, skipped: 0 });

/** `1 passed, 0 failed, 0 skipped`: the last line of `npm test` has this form. */
export function countsText({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

export class Report {
  total = zero();
  #stage = zero();
  #failures = [];

  /** Starts a stage, and prints its heading. */
  begin(title) {
    this.#stage = zero();
    console.log(`\n== ${title} ==`);
  }

  /** Ends a stage, and prints its counts. */
  end(elapsedMs) {
    console.log(`${countsText(this.#stage)} (${(elapsedMs / 1000).toFixed(1)} s)`);
  }

  /** Adds counts that a tool reported itself. */
  add(counts) {
    for (const key of Object.keys(this.total)) {
      this.#stage[key] += counts[key];
      this.total[key] += counts[key];
    }
  }

  pass() {
    this.add({ passed: 1, failed: 0, skipped: 0 });
  }

  skip(name, reason) {
    this.add({ passed: 0, failed: 0, skipped: 1 });
    console.log(`skipped ${name}: ${reason}`);
  }

  fail(name, output) {
    this.add({ passed: 0, failed: 1, skipped: 0 });
    this.explain(name, output);
  }

  /** Prints a failure that is already counted. */
  explain(name, output) {
    this.#failures.push(name);
    const text = output.trim();
    const cut = text.length > outputLengthMax ? `[...]\n${text.slice(-outputLengthMax)}` : text;
    console.log(`FAILED ${name}${cut === "" ? "" : `\n${cut.replaceAll(/^/gm, "  ")}`}`);
  }

  /** Counts one finished program as one test. */
  outcome(name, result) {
    if (result.ok) this.pass();
    else this.fail(`${name}: ${result.reason}`, `${result.stdout}\n${result.stderr}`);
  }

  /** Prints the list of failures and, as the last line, the counts over everything. */
  finish() {
    if (this.#failures.length > 0) {
      console.log(`\n== Failed ==\n${this.#failures.join("\n")}`);
    }
    console.log(`\n${countsText(this.total)}`);
    return this.total.failed === 0 ? 0 : 1;
  }
}
