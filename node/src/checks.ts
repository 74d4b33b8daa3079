import { HostlaneError } from './errors';

const NOTHING = new Uint8Array(0);

/** What a value is called in the text of an error. */
function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
    case 'function':
      return 'a function';
    default:
      return String(value);
  }
}

/** The error of a wrong argument. */
export function invalid(message: string): HostlaneError {
  return new HostlaneError('ERR_HOSTLANE_INVALID_ARGUMENT', message);
}

/** The error of the argument `name`, which is `value` and should be what `wanted` says. */
export function wrong(name: string, value: unknown, wanted: string): HostlaneError {
  return invalid(`${name} is ${shown(value)}; it is ${wanted}`);
}

/** The error of the bytes `name`, which are no longer there. */
export function detached(name: string): HostlaneError {
  return invalid(`${name} is an array whose memory was transferred away`);
}

/** Refuses empty bytes that are so because their memory was transferred away. */
export function attached(name: string, empty: Uint8Array): void {
  try {
    NOTHING.set(empty);
  } catch {
    throw detached(name);
  }
}

/** What only hostlane has to give to the constructors of what it makes. */
export const OURS = Symbol('hostlane');

/** Refuses to make a `what` for a program, which `new` would make of nothing. */
export function ours(given: symbol, what: string, from: string): void {
  if (given !== OURS) {
    throw invalid(`a ${what} is not made with new: it comes from ${from}`);
  }
}

/** Refuses what are no options, and those of them that `of` does not have: one that is spelt wrong is never ignored. */
export function onlyOptions(of: string, known: ReadonlySet<string>, given: object): void {
  if (!isObject(given)) {
    throw wrong(`options of ${of}`, given, 'an object');
  }
  for (const name in given) {
    if (!known.has(name)) {
      throw invalid(`${of} has no option ${name}; it has ${[...known].join(', ')}`);
    }
  }
}

/** The options to look into: none where they are no object, which `onlyOptions` refuses. */
export function looked<T extends object>(given: T): T {
  return isObject(given) ? given : ({} as T);
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function text(name: string, value: string): string {
  if (typeof value !== 'string') {
    throw wrong(name, value, 'a string');
  }
  return value;
}

export function boolean(name: string, value: boolean): boolean {
  if (typeof value !== 'boolean') {
    throw wrong(name, value, 'true or false');
  }
  return value;
}

/** A number of milliseconds, which may be `Infinity`. */
export function milliseconds(name: string, value: number): number {
  if (typeof value !== 'number' || !(value >= 0)) {
    throw wrong(name, value, 'a number of milliseconds, 0 or more');
  }
  return value;
}

/** A whole number from `least` to `most`. */
export function whole(name: string, value: number, most: number, least = 0): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw wrong(name, value, `a whole number from ${least} to ${most}`);
  }
  return value;
}

/** An array, each of whose items `item` looks at. */
export function list<T, R>(name: string, value: readonly T[], item: (name: string, value: T) => R): R[] {
  if (!Array.isArray(value)) {
    throw wrong(name, value, 'an array');
  }
  return (value as readonly T[]).map((one, at) => item(`${name}[${at}]`, one));
}

/** What `[...value]` takes the items of. */
export function iterable(name: string, value: unknown): void {
  if (value === undefined || value === null || typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] !== 'function') {
    throw wrong(name, value, 'an array or another iterable');
  }
}

export function callable(name: string, value: unknown): void {
  if (typeof value !== 'function') {
    throw wrong(name, value, 'a function');
  }
}

const LENGTH = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'length') as { get: (this: Uint8Array) => number };

/** How many bytes there are, whatever a program's own class says: more would be bytes of something else. */
export function sizeOf(bytes: Uint8Array): number {
  return LENGTH.get.call(bytes);
}

/** A signal, of whichever realm. */
export function signal(value: AbortSignal | undefined): void {
  const does = (name: 'throwIfAborted' | 'addEventListener' | 'removeEventListener') =>
    typeof (value as Partial<AbortSignal> | null)?.[name] === 'function';
  if (value !== undefined && !(does('throwIfAborted') && does('addEventListener') && does('removeEventListener'))) {
    throw wrong('signal', value, 'an AbortSignal');
  }
}
