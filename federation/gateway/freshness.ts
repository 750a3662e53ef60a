// For how long an answer is good, as services/rest/answers.py and etags.py have it.
import { createHash } from "node:crypto";

export const KEEP = "no-cache"; // keep it, and ask before using it: the question costs no inference
export const PINNED = "max-age=31536000, s-maxage=60, immutable";
export const FORGET = "no-store";

/**
 * The entity tag of an answer, known before any model runs: it follows from what is asked and the
 * release that answers. No part holds a NUL.
 */
export function etagOf(...parts: string[]): string {
  return `"${createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 32)}"`;
}

/** Whether If-None-Match names a tag; weakly, as Envoy weakens those of what it compresses. */
export function isNamed(ifNoneMatch: string, tag: string): boolean {
  return [...ifNoneMatch.matchAll(/"[^"]*"/g)].some(([named]) => named === tag);
}

/** JSON with sorted names: the same text for the same variables. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, one: unknown) =>
    one && typeof one === "object" && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}
