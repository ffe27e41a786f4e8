/**
 * C++ names as people write them, without parameters: "shapes::Circle::area". Itanium C++ ABI,
 * section 5.1. What it does not know stays as it is.
 *
 * @module
 */

const builtins: Readonly<Record<string, string>> = {
  ...{ v: "void", w: "wchar_t", b: "bool", c: "char", a: "signed char", h: "unsigned char" },
  ...{ s: "short", t: "unsigned short", i: "int", j: "unsigned int", l: "long" },
  ...{ m: "unsigned long", x: "long long", y: "unsigned long long", n: "__int128" },
  ...{ o: "unsigned __int128", f: "float", d: "double", e: "long double", g: "__float128" },
  ...{ z: "...", Dn: "std::nullptr_t", Di: "char32_t", Ds: "char16_t", Du: "char8_t" },
  ...{ Da: "auto", Dc: "decltype(auto)" },
};

const operators: Readonly<Record<string, string>> = {
  ...{ nw: " new", na: " new[]", dl: " delete", da: " delete[]", ps: "+", ng: "-", ad: "&" },
  ...{ de: "*", co: "~", pl: "+", mi: "-", ml: "*", dv: "/", rm: "%", an: "&", or: "|" },
  ...{ eo: "^", aS: "=", pL: "+=", mI: "-=", mL: "*=", dV: "/=", rM: "%=", aN: "&=", oR: "|=" },
  ...{ eO: "^=", ls: "<<", rs: ">>", lS: "<<=", rS: ">>=", eq: "==", ne: "!=", lt: "<", gt: ">" },
  ...{ le: "<=", ge: ">=", ss: "<=>", nt: "!", aa: "&&", oo: "||", pp: "++", mm: "--" },
  ...{ cm: ",", pm: "->*", pt: "->", cl: "()", ix: "[]", aw: " co_await" },
};

const abbreviations: Readonly<Record<string, string>> = {
  ...{ a: "std::allocator", b: "std::basic_string", s: "std::string", i: "std::istream" },
  ...{ o: "std::ostream", d: "std::iostream" },
};

const depthMax = 128;
const lengthMax = 16 * 1024;

class Unknown extends Error {}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;
  #templates: readonly string[] = [];
  readonly #substitutions: string[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  get rest(): string {
    return this.#text.slice(this.#at);
  }

  #take(pattern: string): boolean {
    if (!this.#text.startsWith(pattern, this.#at)) return false;
    this.#at += pattern.length;
    return true;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? null;
    if (found !== null) this.#at += found.length;
    return found;
  }

  #expect(pattern: string): void {
    if (!this.#take(pattern)) throw new Unknown();
  }

  #keep(text: string): string {
    if (text.length > lengthMax) throw new Unknown();
    this.#substitutions.push(text);
    return text;
  }

  #nested<T>(body: () => T): T {
    if (this.#depth === depthMax) throw new Unknown();
    this.#depth += 1;
    const result = body();
    this.#depth -= 1;
    return result;
  }

  /** A function's or a variable's name; a function's parameters are left unread. */
  name(): string {
    return this.#nested(() => {
      if (this.#take("N")) return this.#nestedName();
      if (this.#take("Z")) return this.#localName();
      let name: string;
      if (this.#take("St")) {
        name = `std::${this.#unqualified("")}`;
      } else if (this.#text[this.#at] === "S") {
        // Only a template can be named by a substitution.
        return this.#substitution() + this.#templateArguments();
      } else {
        name = this.#unqualified("");
      }
      if (this.#text[this.#at] !== "I") return name;
      return this.#keep(name) + this.#templateArguments();
    });
  }

  #nestedName(): string {
    this.#match(/[rVK]*[RO]?/y);
    let prefix = "";
    let last = "";
    while (!this.#take("E")) {
      const next = this.#text[this.#at];
      if (next === "S" && this.#text[this.#at + 1] !== "t") {
        prefix = this.#substitution();
        last = prefix.replace(/<.*/, "").split("::").at(-1)!;
        continue;
      }
      if (this.#take("St")) {
        prefix = "std";
        continue;
      }
      if (this.#take("M")) continue;
      if (next === "I") {
        prefix += this.#templateArguments();
      } else if (next === "T") {
        prefix = this.#templateParameter();
      } else {
        const component = this.#unqualified(last);
        last = component;
        prefix = prefix === "" ? component : `${prefix}::${component}`;
      }
      if (this.#text[this.#at] !== "E") this.#keep(prefix);
    }
    return prefix;
  }

  #localName(): string {
    const outer = this.name();
    while (!this.#take("E")) this.#type();
    if (this.#take("s")) return `${outer}::string literal`;
    if (this.#take("d")) {
      this.#match(/\d*/y);
      this.#expect("_");
    }
    const inner = this.name();
    this.#match(/__\d+_|_\d/y);
    return `${outer}::${inner}`;
  }

  #unqualified(enclosing: string): string {
    this.#take("L");
    const plain = this.#plainName(enclosing);
    // Tags of the ABI are no part of the name that was written.
    while (this.#take("B")) this.#sourceName();
    return plain;
  }

  #plainName(enclosing: string): string {
    if (/\d/.test(this.#text[this.#at] ?? "")) return this.#sourceName();
    if (this.#match(/C[1-5]/y) !== null) return enclosing;
    if (this.#match(/D[0-5]/y) !== null) return `~${enclosing}`;
    if (this.#take("Ul")) {
      while (!this.#take("E")) this.#type();
      return `{lambda#${this.#ordinal()}}`;
    }
    if (this.#take("Ut")) return `{unnamed type#${this.#ordinal()}}`;
    if (this.#take("cv")) return `operator ${this.#type()}`;
    if (this.#take("li")) return `operator""${this.#sourceName()}`;
    const code = this.#match(/[a-z][a-zA-Z]/y);
    const operator = code === null ? undefined : operators[code];
    if (operator === undefined) throw new Unknown();
    return `operator${operator}`;
  }

  #ordinal(): number {
    const number = this.#match(/\d*/y)!;
    this.#expect("_");
    return number === "" ? 1 : Number(number) + 2;
  }

  #sourceName(): string {
    const length = Number(this.#match(/\d+/y) ?? NaN);
    const name = this.#text.slice(this.#at, this.#at + length);
    if (!(length > 0) || name.length !== length) throw new Unknown();
    this.#at += length;
    return name.startsWith("_GLOBAL__N") ? "(anonymous namespace)" : name;
  }

  #substitution(): string {
    this.#expect("S");
    const short = abbreviations[this.#text[this.#at] ?? ""];
    if (short !== undefined) {
      this.#at += 1;
      return short;
    }
    const number = this.#match(/[\dA-Z]*/y)!;
    this.#expect("_");
    const found = this.#substitutions[number === "" ? 0 : parseInt(number, 36) + 1];
    if (found === undefined) throw new Unknown();
    return found;
  }

  #templateParameter(): string {
    this.#expect("T");
    const number = this.#match(/\d*/y)!;
    this.#expect("_");
    return this.#templates[number === "" ? 0 : Number(number) + 1] ?? "auto";
  }

  #templateArguments(): string {
    this.#expect("I");
    const list: string[] = [];
    while (!this.#take("E")) list.push(...this.#templateArgument());
    this.#templates = list;
    return `<${list.join(", ")}>`;
  }

  #templateArgument(): readonly string[] {
    if (this.#take("J")) {
      const list: string[] = [];
      while (!this.#take("E")) list.push(...this.#templateArgument());
      return list;
    }
    if (!this.#take("L")) return [this.#type()];
    if (this.#take("_Z")) {
      const name = this.name();
      while (!this.#take("E")) this.#type();
      return [`&${name}`];
    }
    const type = this.#type();
    const value = this.#match(/n?\d*/y)!.replace("n", "-");
    this.#expect("E");
    if (type === "bool") return [value === "0" ? "false" : "true"];
    return [type === "int" ? value : `(${type})${value}`];
  }

  #type(): string {
    return this.#nested(() => {
      const builtin = this.#match(/[vwbcahstijlmxynofdegz]|D[nisuac]/y);
      if (builtin !== null) return builtins[builtin]!;
      const next = this.#text[this.#at];
      if (next === "S" && this.#text[this.#at + 1] !== "t") {
        const found = this.#substitution();
        if (this.#text[this.#at] !== "I") return found;
        return this.#keep(found + this.#templateArguments());
      }
      return this.#keep(this.#compoundType());
    });
  }

  #compoundType(): string {
    const qualifiers = this.#match(/[rVK]+/y);
    if (qualifiers !== null) {
      const type = this.#type();
      return type + (qualifiers.includes("K") ? " const" : "") +
        (qualifiers.includes("V") ? " volatile" : "");
    }
    if (this.#take("P")) return `${this.#type()}*`;
    if (this.#take("R")) return `${this.#type()}&`;
    if (this.#take("O")) return `${this.#type()}&&`;
    if (this.#take("Dp")) return this.#type();
    this.#take("Do");
    if (this.#take("F")) return this.#functionType();
    if (this.#take("A")) {
      const length = this.#match(/\d*/y)!;
      this.#expect("_");
      return `${this.#type()} [${length}]`;
    }
    if (this.#take("M")) {
      const owner = this.#type();
      return `${this.#type()} ${owner}::*`;
    }
    if (this.#text[this.#at] !== "T") return this.name();
    const parameter = this.#templateParameter();
    if (this.#text[this.#at] !== "I") return parameter;
    return this.#keep(parameter) + this.#templateArguments();
  }

  #functionType(): string {
    this.#take("Y");
    const result = this.#type();
    const parameters: string[] = [];
    while (!this.#take("E")) {
      this.#match(/[RO](?=E)/y);
      if (this.#text[this.#at] !== "E") parameters.push(this.#type());
    }
    return `${result} (${parameters.filter((one) => one !== "void").join(", ")})`;
  }
}

/**
 * The readable form of a symbol: "a::b<int>" for "_ZN1a1bIiEEvv". Names that are not mangled, or in
 * a way that is not known, are given back as they are.
 */
export function demangle(symbol: string): string {
  if (!symbol.startsWith("_Z")) return symbol;
  const thunk = /^_ZT(?:h(n?\d+)_|v(n?\d+)_(n?\d+)_)/.exec(symbol)?.[0];
  const parser = new Parser(symbol.slice(thunk?.length ?? 2));
  try {
    // Rust ends its names with a hash.
    const name = parser.name().replace(/::h[0-9a-f]{16}$/, "");
    const suffix = /\.[\w.]+$/.exec(parser.rest)?.[0] ?? "";
    return `${thunk === undefined ? "" : "thunk to "}${name}${suffix}`;
  } catch (error) {
    if (error instanceof Unknown) return symbol;
    throw error;
  }
}
