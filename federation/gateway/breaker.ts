// Stops asking who does not answer, and tries again soon.

export interface BreakerSettings {
  /** So many failures in a row open it. */
  failures: number;
  /** For so long nobody is let through; then one at a time, until one succeeds. */
  openMs: number;
  now: () => number;
}

// Five, as Envoy ejects after; two seconds, as long as it does (guesses that agree).
const DEFAULTS: BreakerSettings = { failures: 5, openMs: 2_000, now: () => performance.now() };

/** One subgraph's. Whoever is admitted must say how it ended: exactly one of the three. */
export class Breaker {
  readonly #settings: BreakerSettings;
  #failures = 0;
  #openUntil = 0;
  #trying = false;

  constructor(settings: Partial<BreakerSettings> = {}) {
    this.#settings = { ...DEFAULTS, ...settings };
  }

  /** Whether there is no doubt that whoever asks is admitted. */
  get isClosed(): boolean {
    return this.#failures < this.#settings.failures;
  }

  /** Whether to ask. */
  admit(): boolean {
    if (this.#failures < this.#settings.failures) return true;
    if (this.#trying || this.#settings.now() < this.#openUntil) return false;
    this.#trying = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#trying = false;
  }

  failed(): void {
    this.#failures += 1;
    this.#trying = false;
    this.#openUntil = this.#settings.now() + this.#settings.openMs;
  }

  /** Nobody waited long enough to know. */
  abandoned(): void {
    this.#trying = false;
  }
}
