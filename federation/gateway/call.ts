// What everything that one execution does shares: for whom, until when, of which release.
import { Timings } from "./timing.ts";
import type { Span } from "./tracing.ts";

/** What made an answer, or all parts of one. */
export interface Maker {
  release: string;
  /** Names the code that writes what the release says; empty when nobody said. */
  representation: string;
}

export interface CallOptions {
  tenant: string;
  token: string;
  /** What is asked of subgraphs is below this. */
  span: Span;
  /** The release that is asked for; empty for the current one. */
  release: string;
  /** When it must be over, on `performance.now()`'s clock. */
  deadline: number;
  /** Aborted when nobody waits any more. */
  signal: AbortSignal;
}

export class Call {
  readonly tenant: string;
  readonly token: string;
  readonly span: Span;
  readonly release: string;
  readonly deadline: number;
  readonly signal: AbortSignal;
  /** What all subgraphs say of how long their models took. */
  readonly timings = new Timings();
  readonly #releases = new Set<string>();
  readonly #representations = new Set<string>();
  #nameless = false;

  constructor(options: CallOptions) {
    this.tenant = options.tenant;
    this.token = options.token;
    this.span = options.span;
    this.release = options.release;
    this.deadline = options.deadline;
    this.signal = options.signal;
  }

  remainingMs(): number {
    return this.deadline - performance.now();
  }

  /** A subgraph has answered; without a maker when no release made its part. */
  answered(maker: Maker | undefined): void {
    if (!maker) return void (this.#nameless = true);
    this.#releases.add(maker.release);
    this.#representations.add(maker.representation);
  }

  /** The one that made all parts; nothing when there is none. */
  madeBy(): Maker | undefined {
    const [release] = this.#releases;
    const [representation] = this.#representations;
    if (this.#nameless || release === undefined || representation === undefined) return undefined;
    if (this.#releases.size > 1 || this.#representations.size > 1) return undefined;
    return { release, representation };
  }
}
