/**
 * Which operations each signal gives up. However many there are, a signal gets one listener: Node takes more than ten for a
 * leak and warns.
 */
export class Aborts {
  readonly #cancel: (op: number) => void;
  readonly #signals = new Map<AbortSignal, { readonly ops: Set<number>; readonly listener: () => void }>();

  /** `cancel` is called for every operation of a signal that is aborted. */
  constructor(cancel: (op: number) => void) {
    this.#cancel = cancel;
  }

  add(signal: AbortSignal, op: number): void {
    const known = this.#signals.get(signal);
    if (known !== undefined) {
      known.ops.add(op);
      return;
    }
    const ops = new Set([op]);
    const listener = () => {
      ops.forEach(this.#cancel);
    };
    this.#signals.set(signal, { ops, listener });
    try {
      signal.addEventListener('abort', listener, { once: true });
    } catch (error) {
      this.#signals.delete(signal);
      throw error;
    }
  }

  /** The operation has ended. */
  delete(signal: AbortSignal, op: number): void {
    const known = this.#signals.get(signal);
    known?.ops.delete(op);
    if (known?.ops.size === 0) {
      this.#signals.delete(signal);
      signal.removeEventListener('abort', known.listener);
    }
  }
}
