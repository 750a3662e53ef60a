// How a subgraph is asked: in time, not when it does not answer anyway, and so that its failure is
// the failure of its own fields.
import type { Transport } from "@graphql-mesh/transport-common";
import type { ExecutionRequest, ExecutionResult } from "@graphql-tools/utils";
import { GraphQLError } from "graphql";

import { Breaker } from "./breaker.ts";
import type { Call, Known } from "./call.ts";
import type { Log } from "./log.ts";
import { type Asked, Metrics, clock } from "./metrics.ts";
import { type Sent, asksForEntities, nothing, predicted, sentOf } from "./sent.ts";
import { PATIENCE_MS, SubgraphLate, SubgraphLost, type Subgraphs } from "./subgraphs.ts";
import { Together } from "./together.ts";
import { bodyOf } from "./uploads.ts";

interface SubgraphResult {
  data?: Record<string, unknown> | null;
  errors?: readonly { message?: unknown; path?: unknown; extensions?: unknown }[];
}

type Variables = Readonly<Record<string, unknown>>;

const IMAGES = "images"; // the subgraph that knows whose images are
const MODERATION = "moderation";
const SURROGATE = "\\ud"; // as JSON escapes half of a character, which no subgraph reads

/** Asks subgraphs for the router. */
export class Executions {
  readonly #subgraphs: Subgraphs;
  readonly #foreign: ReadonlyMap<string, Subgraphs>;
  readonly #timeoutsMs: ReadonlyMap<string, number>;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #newBreaker: () => Breaker;
  readonly #breakers = new Map<string, Breaker>();
  readonly #together = new WeakMap<Call, Together>();

  /** `foreign` are other teams' subgraphs, by name; all others are ours. */
  constructor(
    subgraphs: Subgraphs,
    foreign: ReadonlyMap<string, Subgraphs>,
    timeoutsMs: ReadonlyMap<string, number>,
    log: Log,
    metrics: Metrics,
    newBreaker: () => Breaker = () => new Breaker(),
  ) {
    this.#subgraphs = subgraphs;
    this.#foreign = foreign;
    this.#timeoutsMs = timeoutsMs;
    this.#log = log;
    this.#metrics = metrics;
    this.#newBreaker = newBreaker;
  }

  /** As the router takes it; where a subgraph is, is ours to know and not the supergraph's. */
  transport(): Transport {
    return {
      getSubgraphExecutor:
        ({ subgraphName }) =>
        (request: ExecutionRequest) =>
          this.execute(
            subgraphName,
            request,
            (request.context as { work: { call: Call } }).work.call,
          ),
    } as Transport;
  }

  /** Never throws for what a subgraph does or does not do. */
  async execute(
    subgraph: string,
    request: ExecutionRequest,
    call: Call,
  ): Promise<ExecutionResult> {
    const name = subgraph.toLowerCase();
    const sent = sentOf(request.document);
    const variables = (request.variables ?? {}) as Variables;
    if (name !== IMAGES) {
      if (this.#mayNotPresume(name) && !(await call.stands())) return dropped(sent, variables);
      return (await this.#asked(name, sent, variables, call)).result;
    }
    const question = `${sent.text}\0${JSON.stringify(variables)}`;
    const known = call.known(question);
    if (known) return known;
    const mayPresume = call.mayPresume && this.#breaker(name).isClosed;
    const data = mayPresume ? predicted(sent, variables) : undefined;
    const answer = this.#asked(name, sent, variables, call, data !== undefined);
    if (!data) return (await answer).result;
    call.presume(question, data, answer);
    return { data };
  }

  /** Verdicts are recorded for good, and other teams are told of no image before it is known whose. */
  #mayNotPresume(name: string): boolean {
    return name === MODERATION || this.#foreign.has(name);
  }

  /** Ask, and note what made the answer. */
  async #asked(
    name: string,
    sent: Sent,
    variables: Variables,
    call: Call,
    canWait = false,
  ): Promise<Known> {
    const unmade = (result: ExecutionResult): Known => {
      call.answered(undefined);
      return { result, maker: undefined };
    };
    const breaker = this.#breaker(name);
    const givenMs = this.#timeoutMs(name);
    const timeoutMs = Math.min(givenMs, call.remainingMs());
    const seconds = clock();
    const over = (outcome: Asked, took = seconds()) => this.#metrics.asked(name, outcome, took);
    if (timeoutMs < 1) {
      over("late");
      return unmade(late(sent, variables));
    }
    const foreign = this.#foreign.get(name);
    const isModel = !foreign && asksForEntities(sent);
    if (!breaker.admit()) {
      over("not asked");
      return unmade(lost(name, isModel, sent, variables));
    }
    try {
      const body = bodyOf(sent.text, variables);
      const answer = await (foreign
        ? foreign.post("", body, call, timeoutMs)
        : typeof body === "string" && !body.includes(SURROGATE)
          ? this.#togetherOf(call).post(name, body, givenMs, canWait)
          : this.#subgraphs.post(`/${name}`, body, call, timeoutMs));
      const result = resultOf(answer.content);
      if (!result || answer.status >= 500 || answer.status === 404) {
        throw new SubgraphLost(`status ${answer.status}`);
      }
      breaker.succeeded();
      over("ok", answer.seconds);
      call.answered(answer.maker);
      call.timings.hear(answer.timings);
      return { result: located(result, sent, variables), maker: answer.maker };
    } catch (error) {
      if (error instanceof SubgraphLate) {
        over("late");
        if (timeoutMs >= PATIENCE_MS) breaker.failed();
        else breaker.abandoned();
        return unmade(late(sent, variables));
      }
      if (!(error instanceof SubgraphLost)) {
        breaker.abandoned();
        throw error;
      }
      breaker.failed();
      over("lost");
      const reason = String(error.cause ?? error.message);
      this.#log.warning("subgraph lost", { subgraph: name, reason, trace_id: call.span.traceId });
      return unmade(lost(name, isModel, sent, variables));
    }
  }

  #togetherOf(call: Call): Together {
    let together = this.#together.get(call);
    if (!together) this.#together.set(call, (together = new Together(this.#subgraphs, call)));
    return together;
  }

  #timeoutMs(name: string): number {
    return this.#timeoutsMs.get(name) ?? this.#timeoutsMs.get("*") ?? Infinity;
  }

  #breaker(name: string): Breaker {
    let breaker = this.#breakers.get(name);
    if (!breaker) this.#breakers.set(name, (breaker = this.#newBreaker()));
    return breaker;
  }
}

/** Of an execution that presumed what is not so: nobody is told it. */
function dropped(sent: Sent, variables: Variables): ExecutionResult {
  return nothing(sent, variables, "not asked", { code: "INTERNAL" });
}

function late(sent: Sent, variables: Variables): ExecutionResult {
  return nothing(sent, variables, "no answer within the deadline", { code: "DEADLINE_EXCEEDED" });
}

function lost(name: string, isModel: boolean, sent: Sent, variables: Variables): ExecutionResult {
  const code = isModel ? "MODEL_UNAVAILABLE" : "UNAVAILABLE";
  return nothing(sent, variables, `${name} does not answer`, { code });
}

/** The content of an answer when it is one of GraphQL. */
function resultOf(content: unknown): SubgraphResult | null {
  if (!content || typeof content !== "object") return null;
  const { data, errors } = content as SubgraphResult;
  const isResult = (data && typeof data === "object") || (Array.isArray(errors) && errors.length);
  return isResult ? content : null;
}

/** A subgraph's result with errors as the router relocates them. */
function located(result: SubgraphResult, sent: Sent, variables: Variables): ExecutionResult {
  const errors = (result.errors ?? []).map(
    ({ message, path, extensions }) =>
      new GraphQLError(String(message), {
        path: Array.isArray(path) ? path : null,
        extensions: extensions && typeof extensions === "object" ? { ...extensions } : {},
      }),
  );
  const [first] = errors;
  if (result.data || !first) return { data: result.data, ...(errors.length && { errors }) };
  // Nothing at all: the request was refused, or even the list of entities is null.
  return nothing(sent, variables, first.message, first.extensions);
}
