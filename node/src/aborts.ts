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
    signal.addEventListener('abort', listener, { once: true });
  }

  /** The operation has ended. */
  delete(signal: AbortSignal, op: number): void {
    const known = this.#signals.get(signal);
    known?.ops.delete(op);
    if (known?.ops.size === 0) {
      signal.removeEventListener('abort', known.listener);
      this.#signals.delete(signal);
    }
  }
}
