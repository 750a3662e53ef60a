// What everything that one execution does shares: for whom, until when, of which release.
import type { Span } from "./tracing.ts";

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
  readonly #made = new Set<string>();
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

  /** A subgraph has answered; without a release when it has none for its part. */
  answered(release: string | undefined): void {
    if (release) this.#made.add(release);
    else this.#nameless = true;
  }

  /** The one release that made all parts; empty when there is none. */
  madeBy(): string {
    const [only] = this.#made;
    return only && this.#made.size === 1 && !this.#nameless ? only : "";
  }
}
