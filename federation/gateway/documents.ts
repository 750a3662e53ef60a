// Documents that clients name by the SHA-256 of their text.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const MAX_AUTOMATIC = 1_000; // as many as plans are kept for (a guess)
const MAX_AUTOMATIC_CHARS = 4_000_000; // all of their texts together

const ID = /^(?:sha256:)?([0-9a-f]{64})$/;

/** The hash that a client's id of a document is; nothing for what is no such id. */
export function hashIn(id: string): string | undefined {
  return ID.exec(id)?.[1];
}

export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export class Documents {
  readonly #known: ReadonlyMap<string, string>;
  readonly #automatic = new Map<string, string>(); // the one that was used last is last
  #chars = 0;

  /** `known` are texts by hash, which stay. */
  constructor(known: ReadonlyMap<string, string>) {
    this.#known = known;
  }

  isKnown(hash: string): boolean {
    return this.#known.has(hash);
  }

  find(hash: string): string | undefined {
    const text = this.#known.get(hash);
    if (text !== undefined) return text;
    const automatic = this.#automatic.get(hash);
    if (automatic !== undefined) {
      this.#automatic.delete(hash);
      this.#automatic.set(hash, automatic);
    }
    return automatic;
  }

  /** Keep a text under its hash, in place of those that were used least lately. */
  register(hash: string, text: string): void {
    if (this.#known.has(hash) || this.#automatic.has(hash)) return;
    this.#automatic.set(hash, text);
    this.#chars += text.length;
    for (const [oldest, dropped] of this.#automatic) {
      if (this.#automatic.size <= MAX_AUTOMATIC && this.#chars <= MAX_AUTOMATIC_CHARS) break;
      this.#automatic.delete(oldest);
      this.#chars -= dropped.length;
    }
  }
}

/** The documents of a manifest as federation/documents/manifest.py writes it. Throws. */
export function readManifest(path: string): ReadonlyMap<string, string> {
  const { format, operations } = JSON.parse(readFileSync(path, "utf8")) as {
    format?: unknown;
    operations?: { id: string; body: string }[];
  };
  if (format !== "apollo-persisted-query-manifest" || !Array.isArray(operations)) {
    throw new Error(`${path} is no manifest of persisted documents`);
  }
  for (const { id, body } of operations) {
    if (hashOf(body) !== id) throw new Error(`${path}: ${id} is not the hash of its document`);
  }
  return new Map(operations.map(({ id, body }) => [id, body]));
}
