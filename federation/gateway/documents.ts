// Documents that clients name by the SHA-256 of their text.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { Recent } from "./recent.ts";

const MAX_AUTOMATIC = 1_000; // of one tenant, as many as plans are kept for (a guess)
const MAX_TENANT_CHARS = 2_000_000; // all of their texts together (a guess)
const MAX_CHARS = 16_000_000; // of all tenants (a guess)

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
  // Nobody learns from a hash what others ask. The tenant that was here last is last.
  readonly #automatic = new Map<string, Recent<string>>();
  #chars = 0;

  /** `known` are texts by hash, which stay, and are everybody's. */
  constructor(known: ReadonlyMap<string, string>) {
    this.#known = known;
  }

  isKnown(hash: string): boolean {
    return this.#known.has(hash);
  }

  /** A text that is known, or that this tenant sent. */
  find(tenant: string, hash: string): string | undefined {
    return this.#known.get(hash) ?? this.#of(tenant)?.get(hash);
  }

  /** Keep a text under its hash, in place of the tenant's that were used least lately. */
  register(tenant: string, hash: string, text: string): void {
    if (this.#known.has(hash) || this.#of(tenant)?.get(hash) !== undefined) return;
    const own = this.#of(tenant) ?? new Recent<string>(MAX_AUTOMATIC, MAX_TENANT_CHARS);
    this.#automatic.set(tenant, own);
    const before = own.chars;
    own.put(hash, text, text.length);
    this.#chars += own.chars - before;
    while (this.#chars > MAX_CHARS) this.#dropOldest();
  }

  #of(tenant: string): Recent<string> | undefined {
    const own = this.#automatic.get(tenant);
    if (!own) return undefined;
    this.#automatic.delete(tenant);
    this.#automatic.set(tenant, own);
    return own;
  }

  /** What the tenant used least lately that was away for the longest time. */
  #dropOldest(): void {
    for (const [tenant, own] of this.#automatic) {
      const before = own.chars;
      own.dropOldest();
      this.#chars += own.chars - before;
      if (own.chars === 0) this.#automatic.delete(tenant);
      return;
    }
  }
}

/** What a manifest holds: documents by their hashes, and the names of their operations. */
export interface Manifest {
  documents: ReadonlyMap<string, string>;
  names: readonly string[];
}

/** A manifest as federation/documents/manifest.py writes it. Throws. */
export function readManifest(path: string): Manifest {
  const { format, operations } = JSON.parse(readFileSync(path, "utf8")) as {
    format?: unknown;
    operations?: { id: string; name?: string; body: string }[];
  };
  if (format !== "apollo-persisted-query-manifest" || !Array.isArray(operations)) {
    throw new Error(`${path} is no manifest of persisted documents`);
  }
  for (const { id, body } of operations) {
    if (hashOf(body) !== id) throw new Error(`${path}: ${id} is not the hash of its document`);
  }
  return {
    documents: new Map(operations.map(({ id, body }) => [id, body])),
    names: operations.flatMap(({ name }) => name ?? []),
  };
}
