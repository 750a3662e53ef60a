// Values of a label, of which clients may think of as many as they like.

/** What stands for all others, once there are so many. */
export const OTHER = "other";

/** The first so many values are kept; those that are known beforehand always are. */
export class Bounded {
  readonly #known: ReadonlySet<string>;
  readonly #most: number;
  readonly #seen = new Set<string>();

  constructor(most: number, known: Iterable<string> = []) {
    this.#most = most;
    this.#known = new Set(known);
  }

  /** The value itself, or what stands for it. */
  of(value: string): string {
    if (this.#known.has(value) || this.#seen.has(value)) return value;
    if (this.#seen.size >= this.#most) return OTHER;
    this.#seen.add(value);
    return value;
  }
}
