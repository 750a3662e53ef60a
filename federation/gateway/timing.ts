// How long each model took for a request, as Server-Timing, in the words of services/serving/timing.py.

export const TIMING_HEADER = "server-timing";

/** Which request the times are of: Envoy's cache keeps headers with bodies (envoy/edge.lua). */
export const MADE_FOR_HEADER = "x-visionmesh-made-for";
export const REQUEST_ID_HEADER = "x-request-id";

// Of several calls, that is said which explains most.
const RANK = ["", "stored", "revalidated", "joined", "made", "failed"];
const ENTRY = /^([a-z][a-z0-9-]*)(?:;dur=([0-9.]{1,12}))?(?:;desc=([a-z]+))?$/;

interface Entry {
  ms: number | undefined;
  how: string;
}

export class Timings {
  readonly #began = performance.now();
  readonly #entries = new Map<string, Entry>();

  /** Of several that have one name, the longest time is kept and the strongest reason. */
  note(name: string, how = "", ms?: number): void {
    const known = this.#entries.get(name) ?? { ms: undefined, how: "" };
    if (ms !== undefined) known.ms = Math.max(ms, known.ms ?? 0);
    if (RANK.indexOf(how) > RANK.indexOf(known.how)) known.how = how;
    this.#entries.set(name, known);
  }

  /** What a subgraph says; what is not in its form is passed over. */
  hear(text: string): void {
    for (const part of text.split(", ")) {
      const [, name, ms, how] = ENTRY.exec(part) ?? [];
      if (name) this.note(name, how, ms === undefined ? undefined : Number(ms));
    }
  }

  /** What an execution came to. Who only waited for it is told no times, which began before. */
  take(other: Timings, isJoined: boolean): void {
    for (const [name, { how, ms }] of other.#entries) {
      if (isJoined) this.note(name, "joined");
      else this.note(name, how, ms);
    }
  }

  /** All of it, and how long it took altogether. */
  total(): string {
    const total: [string, Entry] = ["total", { ms: performance.now() - this.#began, how: "" }];
    return [...this.#entries, total].map(written).join(", ");
  }
}

function written([name, { ms, how }]: [string, Entry]): string {
  return name + (ms === undefined ? "" : `;dur=${ms.toFixed(1)}`) + (how && `;desc=${how}`);
}
