// What everything that one execution does shares: for whom, until when, of which release.
import type { ExecutionResult } from "@graphql-tools/utils";

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
  /** Whether it may go on with what is not answered yet, and begin again when it was wrong. */
  mayPresume?: boolean;
}

/** An answer that an execution went on with before it was there. */
interface Presumed {
  question: string;
  data: string;
  answer: Promise<Known>;
}

async function isRight({ data, answer }: Presumed): Promise<boolean> {
  const { result } = await answer;
  return !result.errors?.length && JSON.stringify(result.data) === data;
}

/** What a subgraph answered, and what made it. */
export interface Known {
  result: ExecutionResult;
  maker: Maker | undefined;
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
  readonly #presumed: Presumed[] = [];
  readonly mayPresume: boolean;
  readonly #known: ReadonlyMap<string, Known> | undefined;
  readonly #options: CallOptions;
  readonly #settled: (() => void)[] = [];

  /** `known` are answers of the images subgraph; with them, no others are presumed. */
  constructor(options: CallOptions, known?: ReadonlyMap<string, Known>) {
    this.#options = options;
    this.#known = known;
    this.mayPresume = !known && (options.mayPresume ?? false);
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

  /** What a question was answered before, in an execution that presumed something else. */
  known(question: string): ExecutionResult | undefined {
    const known = this.#known?.get(question);
    if (known) this.answered(known.maker);
    return known?.result;
  }

  /** The execution goes on with `data`, before its question is answered. */
  presume(question: string, data: unknown, answer: Promise<Known>): void {
    answer.catch(() => undefined); // `corrected` tells of it, if the execution comes that far
    this.#presumed.push({ question, data: JSON.stringify(data), answer });
  }

  /** Have something done when the execution has nothing more to ask. */
  whenSettled(act: () => void): void {
    this.#settled.push(act);
  }

  /** The execution has nothing more to ask, or goes no further without what it presumes. */
  settle(): void {
    for (const act of this.#settled) act();
  }

  /** Whether all is so that was presumed until now. */
  async stands(): Promise<boolean> {
    if (this.#presumed.length === 0) return true;
    this.settle();
    const known = await Promise.all(this.#presumed.map(isRight));
    return known.every(Boolean);
  }

  /** Nothing when all was as presumed; else what to execute with again. Throws what answers threw. */
  async corrected(): Promise<Call | undefined> {
    if (await this.stands()) return undefined;
    const known = new Map<string, Known>();
    for (const { question, answer } of this.#presumed) known.set(question, await answer);
    const next = new Call(this.#options, known);
    next.timings.take(this.timings, false);
    return next;
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
