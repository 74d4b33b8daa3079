/** Round trips of one run, in nanoseconds. */
export class Latencies {
  #values = [];

  /** Adds one, given in milliseconds. */
  add(milliseconds) {
    this.#values.push(milliseconds * 1e6);
  }

  /** The value below which the share `q` of the round trips is, or 0 without any. */
  quantile(q) {
    const sorted = Float64Array.from(this.#values).sort();
    return sorted.length === 0 ? 0 : Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]);
  }

  json() {
    return JSON.stringify({ median_ns: this.quantile(0.5), p99_ns: this.quantile(0.99), count: this.#values.length });
  }
}
