/**
 * A rough reader of TypeScript and Zig source text, enough for the house rules: it tells code from
 * comments and strings, and finds functions and imports. It needs no compiler, so that the rules
 * run wherever the tests run.
 *
 * @module
 */

/** A function found in source text. */
export interface FoundFunction {
  readonly name: string;
  /** Line where its head begins, from 1. */
  readonly line: number;
  readonly lineCount: number;
}

/** An imported module. */
export interface FoundImport {
  readonly specifier: string;
  readonly line: number;
}

/** The line of an offset, from 1. */
export function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let index = text.indexOf("\n"); index !== -1 && index < offset;) {
    line += 1;
    index = text.indexOf("\n", index + 1);
  }
  return line;
}

/** Blanks `[start, end)`, keeping line breaks so that offsets and lines stay true. */
function blank(output: string[], start: number, end: number): void {
  for (let index = start; index < end && index < output.length; index++) {
    if (output[index] !== "\n") output[index] = " ";
  }
}

/** The offset after a string that opens at `start`; a backslash takes the next character along. */
function endOfString(text: string, start: number): number {
  const quote = text[start];
  for (let index = start + 1; index < text.length; index++) {
    if (text[index] === "\\") index += 1;
    else if (text[index] === quote) return index + 1;
    else if (text[index] === "\n") return index;
  }
  return text.length;
}

function endOfLine(text: string, start: number): number {
  const end = text.indexOf("\n", start);
  return end === -1 ? text.length : end;
}

/** The offset after a regular expression, whose classes may hold an unescaped slash. */
function endOfRegExp(text: string, start: number): number {
  let inClass = false;
  for (let index = start + 1; index < text.length && text[index] !== "\n"; index++) {
    if (text[index] === "\\") index += 1;
    else if (text[index] === "[") inClass = true;
    else if (text[index] === "]") inClass = false;
    else if (text[index] === "/" && !inClass) return index + 1;
  }
  return start + 1;
}

/** Whether a slash after this code divides: it does after a value, else a pattern begins. */
function endsInValue(code: string): boolean {
  const before = code.trimEnd();
  if (/\b(?:return|typeof|case|in|of|await|yield|void|delete)$/.test(before)) return false;
  return /[\w$)\]}"'`]$/.test(before);
}

/**
 * TypeScript with comments and the insides of strings, templates and patterns blanked. Quotes stay,
 * and so does code inside `${}`.
 */
export function typescriptCode(text: string): string {
  const output = [...text.split("")];
  // Each entry is the brace depth inside one `${`; the template goes on where it falls to zero.
  const templates: number[] = [];
  const template = (start: number): number => {
    for (let index = start; index < text.length; index++) {
      if (text[index] === "\\") index += 1;
      else if (text[index] === "`") return blank(output, start, index), index + 1;
      else if (text.startsWith("${", index)) {
        blank(output, start, index);
        templates.push(0);
        return index + 2;
      }
    }
    return text.length;
  };
  let index = 0;
  while (index < text.length) {
    const start = index;
    const character = text[index];
    index += 1;
    if (text.startsWith("//", start)) {
      index = endOfLine(text, start);
      blank(output, start, index);
    } else if (text.startsWith("/*", start)) {
      const end = text.indexOf("*/", start + 2);
      index = end === -1 ? text.length : end + 2;
      blank(output, start, index);
    } else if (character === '"' || character === "'") {
      index = endOfString(text, start);
      blank(output, start + 1, index - 1);
    } else if (
      character === "/" && !endsInValue(output.slice(Math.max(0, start - 200), start).join(""))
    ) {
      index = endOfRegExp(text, start);
      if (index > start + 1) blank(output, start + 1, index - 1);
    } else if (character === "`") {
      index = template(index);
    } else if (templates.length > 0 && character === "{") {
      templates[templates.length - 1]! += 1;
    } else if (templates.length > 0 && character === "}") {
      const depth = templates.pop()!;
      if (depth === 0) index = template(index);
      else templates.push(depth - 1);
    }
  }
  return output.join("");
}

/** Zig with comments, strings and character literals blanked; quotes stay. */
export function zigCode(text: string): string {
  const output = [...text.split("")];
  let index = 0;
  while (index < text.length) {
    const start = index;
    const character = text[index];
    index += 1;
    if (text.startsWith("//", start) || text.startsWith("\\\\", start)) {
      index = endOfLine(text, start);
      blank(output, start, index);
    } else if (character === '"' || character === "'") {
      index = endOfString(text, start);
      blank(output, start + 1, index - 1);
    }
  }
  return output.join("");
}

/** The offset after the bracket that closes the one at `start`. */
function endOfBrackets(code: string, start: number): number {
  const pairs: Readonly<Record<string, string>> = { "(": ")", "{": "}", "[": "]" };
  const open = code[start]!;
  const close = pairs[open];
  let depth = 0;
  for (let index = start; index < code.length; index++) {
    if (code[index] === open) depth += 1;
    if (code[index] === close) depth -= 1;
    if (depth === 0) return index + 1;
  }
  return code.length;
}

/** The body's opening brace after a TypeScript parameter list that ends at `start`, or -1. */
function typescriptBody(code: string, start: number): number {
  let index = start;
  const skip = (): void => {
    while (/\s/.test(code[index] ?? "")) index += 1;
  };
  skip();
  if (code[index] === ":") {
    // Inside a type, a brace is a type literal where an operand is due, and the body elsewhere.
    let operandDue = true;
    for (index += 1; index < code.length; skip()) {
      skip();
      const rest = code.slice(index, index + 200);
      const word = /^[\w$.]+/.exec(rest)?.[0];
      if (rest.startsWith("=>")) {
        const after = code.slice(index + 2).search(/\S/) + index + 2;
        // `(): T => {` opens a body. A type such as `() => { a: 1 }` is not written here.
        if (code[after] === "{" && !operandDue) return after;
        index += 2;
        operandDue = true;
      } else if (word !== undefined) {
        index += word.length;
        operandDue = /^(?:is|asserts|keyof|typeof|readonly|infer|extends|unique)$/.test(word);
      } else if (rest[0] === "{" && !operandDue) {
        return index;
      } else if (/^[{([]/.test(rest)) {
        index = endOfBrackets(code, index);
        operandDue = false;
      } else if (/^["'`]/.test(rest)) {
        index = code.indexOf(rest[0]!, index + 1) + 1;
        operandDue = false;
      } else if (/^[|&<,?:]/.test(rest)) {
        index += 1;
        operandDue = true;
      } else if (rest[0] === ">") {
        index += 1;
        operandDue = false;
      } else return -1;
    }
    return -1;
  }
  if (code.startsWith("=>", index)) {
    index += 2;
    skip();
  }
  return code[index] === "{" ? index : -1;
}

const notFunctions = new Set(["if", "for", "await", "while", "switch", "catch", "with", "return"]);

/** Functions, methods and arrow functions that have a body in braces. */
export function typescriptFunctions(text: string): FoundFunction[] {
  const code = typescriptCode(text);
  const found: FoundFunction[] = [];
  for (const match of code.matchAll(/(?:([\w$#]+)\s*(?:<[^()]*>)?\s*)?\(/g)) {
    const name = match[1] ?? "";
    if (notFunctions.has(name)) continue;
    const paren = match.index + match[0].length - 1;
    const body = typescriptBody(code, endOfBrackets(code, paren));
    if (body === -1) continue;
    const before = code.slice(0, match.index).trimEnd();
    // A group of tests is a list of functions, not one.
    if (/\bdescribe\([^()]*,$/.test(before)) continue;
    const line = lineOf(code, match.index);
    const lineCount = lineOf(code, endOfBrackets(code, body)) - line + 1;
    const label = name === "" || name === "function" ? "(anonymous)" : name;
    found.push({ name: label, line, lineCount });
  }
  return found;
}

/** The body's opening brace after a Zig parameter list that ends at `start`, or -1. */
function zigBody(code: string, start: number): number {
  for (let index = start; index < code.length; index++) {
    const character = code[index]!;
    if (/[;,=)}]/.test(character)) return -1;
    if (character === "(" || character === "[") {
      index = endOfBrackets(code, index) - 1;
    } else if (character === "{") {
      const before = code.slice(start, index).trimEnd();
      // `error{A}!void` and `struct { a: u8 }` are types; the body follows them.
      if (!/\b(?:error|struct|union|enum|opaque)(?:\([^()]*\))?$/.test(before)) return index;
      index = endOfBrackets(code, index) - 1;
    }
  }
  return -1;
}

/** Zig functions with a body. One that returns a type is a namespace and is left out. */
export function zigFunctions(text: string): FoundFunction[] {
  const code = zigCode(text);
  const found: FoundFunction[] = [];
  for (const match of code.matchAll(/\bfn\s+(\w+)\s*\(/g)) {
    const end = endOfBrackets(code, match.index + match[0].length - 1);
    const body = zigBody(code, end);
    if (body === -1 || code.slice(end, body).trim() === "type") continue;
    const line = lineOf(code, match.index);
    const lineCount = lineOf(code, endOfBrackets(code, body)) - line + 1;
    found.push({ name: match[1]!, line, lineCount });
  }
  return found;
}

/** What a TypeScript file imports or re-exports from elsewhere, `import()` included. */
export function typescriptImports(text: string): FoundImport[] {
  const code = typescriptCode(text);
  return [...code.matchAll(/\b(?:from|import)\s*\(?\s*(["'])( *)\1/g)].map((match) => {
    const end = match.index + match[0].length - 1;
    const specifier = text.slice(end - match[2]!.length, end);
    return { specifier, line: lineOf(code, match.index) };
  });
}

/** What a Zig file imports. */
export function zigImports(text: string): FoundImport[] {
  const code = zigCode(text);
  return [...code.matchAll(/@import\("( *)"\)/g)].map((match) => {
    const end = match.index + match[0].length - 2;
    const specifier = text.slice(end - match[1]!.length, end);
    return { specifier, line: lineOf(code, match.index) };
  });
}
