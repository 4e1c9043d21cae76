/**
 * Python's literals, as `ast.literal_eval` reads them: what stands in the header of a .npy file. Grammar:
 * https://docs.python.org/3/reference/lexical_analysis.html#literals
 */

export type PythonValue =
  | string
  | boolean
  | null
  | bigint
  | PythonSequence
  | ReadonlyMap<PythonValue, PythonValue>
  /** A float, or a string of bytes: no header has one. */
  | PythonOther;

export interface PythonSequence {
  readonly kind: 'tuple' | 'list';
  readonly items: readonly PythonValue[];
}

interface PythonOther {
  readonly kind: 'float' | 'bytes';
  readonly text: string;
}

/** The value of a literal; undefined if the text is none. */
export function parsePython(text: string): PythonValue | undefined {
  try {
    return new Parser(text).whole();
  } catch (error) {
    if (error instanceof NotALiteral) return undefined;
    throw error;
  }
}

/** Of values within values. */
const MOST_DEPTH = 100;

class NotALiteral extends Error {}

const WORDS: ReadonlyMap<string, boolean | null> = new Map([
  ['True', true],
  ['False', false],
  ['None', null],
]);

/** Spaces, line ends, comments, and a backslash that continues a line. */
const SPACE = /(?:[ \t\f\r\n]|#[^\r\n]*|\\\r?\n)*/y;
const WORD = /[A-Za-z_]\w*/y;
/** Python 2 wrote an L behind long integers, and Python 3 refuses 007. */
const INTEGER =
  /[+-]?(?:0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|[1-9](?:_?\d)*|0(?:_?0)*)L?(?![\w.])/y;
const FLOAT = /[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?!\w)/y;
const STRING = /([uU]|[rR]|[bB][rR]?|[rR][bB])?('''|"""|'|")/y;

const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): PythonValue {
    this.#take(SPACE);
    const value = this.#value();
    if (this.#at < this.#text.length) throw new NotALiteral();
    return value;
  }

  /** One value, and the space behind it. */
  #value(): PythonValue {
    if (++this.#depth > MOST_DEPTH) throw new NotALiteral();
    const value = this.#bare();
    this.#depth--;
    this.#take(SPACE);
    return value;
  }

  #bare(): PythonValue {
    if (this.#symbol('{')) return this.#dictionary();
    if (this.#symbol('[')) return { kind: 'list', items: this.#items(']').items };
    if (this.#symbol('(')) {
      const { items, commas } = this.#items(')');
      return items.length === 1 && commas === 0 ? items[0]! : { kind: 'tuple', items };
    }
    if (this.#sees(STRING)) return this.#strings();
    const integer = this.#take(INTEGER);
    if (integer !== undefined) return integerOf(integer);
    const float = this.#take(FLOAT);
    if (float !== undefined) return { kind: 'float', text: float };
    const value = WORDS.get(this.#take(WORD) ?? '');
    if (value === undefined) throw new NotALiteral();
    return value;
  }

  #dictionary(): ReadonlyMap<PythonValue, PythonValue> {
    const entries = new Map<PythonValue, PythonValue>();
    while (!this.#symbol('}')) {
      const key = this.#value();
      if (!this.#symbol(':')) throw new NotALiteral();
      entries.set(key, this.#value());
      if (this.#symbol(',')) continue;
      if (!this.#symbol('}')) throw new NotALiteral();
      break;
    }
    return entries;
  }

  #items(end: string): { readonly items: readonly PythonValue[]; readonly commas: number } {
    const items: PythonValue[] = [];
    let commas = 0;
    while (!this.#symbol(end)) {
      items.push(this.#value());
      if (this.#symbol(',')) {
        commas++;
        continue;
      }
      if (!this.#symbol(end)) throw new NotALiteral();
      break;
    }
    return { items, commas };
  }

  /** Strings that follow each other are one. */
  #strings(): string | PythonOther {
    let text = '';
    let bytes = false;
    while (this.#sees(STRING)) {
      const [, prefix = '', quote] = this.#match(STRING)!;
      const raw = /r/i.test(prefix);
      bytes ||= /b/i.test(prefix);
      for (;;) {
        if (this.#text.startsWith(quote!, this.#at)) break;
        const character = this.#text[this.#at++];
        if (character === undefined || (character === '\n' && quote!.length === 1)) throw new NotALiteral();
        if (character !== '\\') text += character;
        else if (raw) text += character + (this.#text[this.#at++] ?? '');
        else text += this.#escape();
      }
      this.#at += quote!.length;
      this.#take(SPACE);
    }
    return bytes ? { kind: 'bytes', text } : text;
  }

  #escape(): string {
    const code = this.#match(/x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})/y);
    if (code !== undefined) {
      const point = Number.parseInt(code.slice(1).find(digits => digits !== undefined)!, 16);
      if (point > 0x10ffff) throw new NotALiteral();
      return String.fromCodePoint(point);
    }
    const octal = this.#match(/[0-7]{1,3}/y);
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal[0], 8));
    const character = this.#text[this.#at++];
    if (character === undefined) throw new NotALiteral();
    return ESCAPES[character] ?? `\\${character}`;
  }

  /** Takes a symbol and the space behind it, if it is there. */
  #symbol(symbol: string): boolean {
    if (this.#text[this.#at] !== symbol) return false;
    this.#at++;
    this.#take(SPACE);
    return true;
  }

  #sees(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#text);
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    return match;
  }

  #take(pattern: RegExp): string | undefined {
    return this.#match(pattern)?.[0];
  }
}

function integerOf(text: string): bigint {
  const [, sign, digits] = /^([+-]?)(\w+?)L?$/.exec(text)!;
  const value = BigInt(digits!.replaceAll('_', ''));
  return sign === '-' ? -value : value;
}
