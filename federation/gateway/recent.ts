// Values that were used lately, in place of those that were used least lately.

interface Kept<V> {
  value: V;
  chars: number;
}

/** Bounded by how many there are, and by the characters that they stand for, all together. */
export class Recent<V> {
  readonly #most: number;
  readonly #mostChars: number;
  readonly #kept = new Map<string, Kept<V>>(); // the one that was used last is last
  #chars = 0;

  constructor(most: number, mostChars: number) {
    this.#most = most;
    this.#mostChars = mostChars;
  }

  get chars(): number {
    return this.#chars;
  }

  get(key: string): V | undefined {
    const kept = this.#kept.get(key);
    if (!kept) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.value;
  }

  /** Keep a value, in place of an earlier one of the key; one that is too long is not kept. */
  put(key: string, value: V, chars: number): void {
    this.#drop(key);
    this.#kept.set(key, { value, chars });
    this.#chars += chars;
    while (this.#kept.size > this.#most || this.#chars > this.#mostChars) this.dropOldest();
  }

  dropOldest(): void {
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined) this.#drop(oldest);
  }

  #drop(key: string): void {
    this.#chars -= this.#kept.get(key)?.chars ?? 0;
    this.#kept.delete(key);
  }
}
