// POST and GET /graphql: from an HTTP request to an answer that says who may keep it.
import type { IncomingMessage } from "node:http";

import type { ExecutionResult, GraphQLError } from "graphql";

import type { Bodies } from "./bodies.ts";
import { Call, type Maker } from "./call.ts";
import { type Documents, hashOf } from "./documents.ts";
import { Refusal, Refusals, type SharedError, masked, told, traced } from "./errors.ts";
import { Flights, Late } from "./flights.ts";
import { MAX_FORM_BYTES, fromForm } from "./forms.ts";
import { FORGET, KEEP, PINNED, canonical, etagOf, isNamed } from "./freshness.ts";
import type { Log } from "./log.ts";
import { Account, type Metrics, clock } from "./metrics.ts";
import type { Checked, Operations } from "./operations.ts";
import {
  type Asked,
  FORM_TYPE,
  JSON_TYPE,
  MAX_JSON_BYTES,
  type Target,
  checkOrigin,
  fromJson,
  fromUrl,
  methodOf,
  pinnedUrl,
  releaseOf,
  targetOf,
  text,
  timeoutMs,
} from "./requests.ts";
import type { Router } from "./router.ts";
import { type Subgraphs, TIMEOUT_HEADER } from "./subgraphs.ts";
import { TENANT_HEADER, TOKEN_HEADER, tenantOf } from "./tenancy.ts";
import { MADE_FOR_HEADER, REQUEST_ID_HEADER, TIMING_HEADER, Timings } from "./timing.ts";
import { type Span, type Tracing, parentOf } from "./tracing.ts";

/** By which a client asks for a release, for who cannot put it into the URL. */
const RELEASE_HEADER = "visionmesh-release"; // no x-visionmesh-, which Envoy takes from strangers
const RESPONSE_TYPE = "application/graphql-response+json";

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Buffer;
}

/** What an execution came to, for all who share it. */
interface Outcome {
  /** JSON; the whole answer but for the errors, each of which names its caller's trace. */
  data: string;
  errors: readonly SharedError[];
  /** Nothing when no one release and code made it, or there is an error. */
  maker: Maker | undefined;
  /** Of the execution: below who began it, in whose trace it is. */
  span: Span;
  timings: Timings;
}

/** An operation of the supergraph that was there when it was checked. */
interface Ready extends Checked {
  graph: string;
}

/** For whom a request is, and until when. */
interface Caller {
  tenant: string;
  span: Span;
  deadline: number;
  signal: AbortSignal;
  timings: Timings;
  account: Account;
}

export interface EndpointParts {
  router: Router;
  subgraphs: Subgraphs;
  documents: Documents;
  operations: Operations;
  bodies: Bodies;
  token: string;
  onlyKnown: boolean;
  tracing: Tracing;
  metrics: Metrics;
  log: Log;
}

export class Endpoint {
  readonly #parts: EndpointParts;
  readonly #flights = new Flights<Outcome>();

  constructor(parts: EndpointParts) {
    this.#parts = parts;
  }

  /** Never throws; `signal` is aborted when the client has left. */
  async answer(request: IncomingMessage, signal: AbortSignal): Promise<Answer> {
    const { headers, method = "" } = request;
    const seconds = clock();
    const account = new Account();
    const parent = parentOf(text(headers["traceparent"]), text(headers["tracestate"]));
    const span = this.#parts.tracing.begin(parent, `${methodOf(method)} /graphql`, {
      "http.request.method": methodOf(method),
      "http.route": "/graphql",
      "url.path": "/graphql",
      "url.scheme": "http",
    });
    const timings = new Timings();
    const answer = await this.#told(request, signal, span, account, timings);
    this.#parts.metrics.ended(methodOf(method), answer.status, seconds(), account);
    if (answer.status === 304) timings.note("cache", "revalidated");
    answer.headers[TIMING_HEADER] = timings.total();
    const madeFor = text(headers[REQUEST_ID_HEADER]);
    if (madeFor) answer.headers[MADE_FOR_HEADER] = madeFor;
    span.say({ "http.response.status_code": answer.status });
    if (answer.status >= 500) span.fail(String(answer.status));
    span.end();
    const { status } = answer;
    this.#parts.log.debug("answered", { method: methodOf(method), status, trace_id: span.traceId });
    return answer;
  }

  async #told(
    request: IncomingMessage,
    signal: AbortSignal,
    span: Span,
    account: Account,
    timings: Timings,
  ): Promise<Answer> {
    const { headers } = request;
    try {
      const shown = [text(headers[TOKEN_HEADER]), text(headers[TENANT_HEADER])] as const;
      const tenant = tenantOf(this.#parts.token, ...shown);
      const deadline = performance.now() + timeoutMs(text(headers[TIMEOUT_HEADER]));
      const caller = { tenant, span, deadline, signal, account, timings };
      account.tenant = tenant;
      const target = targetOf(request.url ?? "");
      const [mediaType = ""] = (headers["content-type"] ?? "").split(";", 1);
      const kind = mediaType.trim().toLowerCase();
      checkOrigin(request.method ?? "", kind, headers);
      if (request.method === "GET" || request.method === "HEAD") {
        return await this.#get(fromUrl(target), target, request, caller);
      }
      return await this.#post(target, kind, request, caller);
    } catch (error) {
      if (signal.aborted) return json(499, "", { "cache-control": FORGET }); // nobody reads it
      return this.#refused(error, span, account);
    }
  }

  async #get(
    asked: Asked,
    target: Target,
    request: IncomingMessage,
    caller: Caller,
  ): Promise<Answer> {
    const operation = await this.#checked(asked, caller);
    if (!operation.isQuery) {
      throw new Refusal("BAD_REQUEST", "a mutation is sent with POST", { status: 405 });
    }
    const pinned = target.release;
    const inHeader = releaseOf(text(request.headers[RELEASE_HEADER]));
    // The URL must say whose answer it is before anybody may keep it under that URL.
    const isLasting = operation.isLasting && (!inHeader || inHeader === pinned);
    const release = pinned || inHeader;
    const ifNoneMatch = text(request.headers["if-none-match"]) ?? "";
    // `*` is any answer that there is, and whether there is one is not known yet.
    const isAny = ifNoneMatch.trim() === "*";
    if (isLasting && ifNoneMatch && !isAny) {
      const now = await this.#standing(operation, release, caller);
      const kept = now && this.#kept(operation, target, now);
      if (kept && isNamed(ifNoneMatch, kept.etag)) return notModified(kept);
    }
    const outcome = await this.#shared(operation, release, caller);
    const body = this.#body(outcome, caller);
    const { maker } = outcome;
    if (!isLasting || !maker || (pinned && maker.release !== pinned)) {
      return json(200, body, { "cache-control": FORGET });
    }
    const kept = this.#kept(operation, target, maker);
    const isKnown = isAny || isNamed(ifNoneMatch, kept.etag);
    return isKnown ? notModified(kept) : json(200, body, kept);
  }

  async #post(
    target: Target,
    mediaType: string,
    request: IncomingMessage,
    caller: Caller,
  ): Promise<Answer> {
    if (request.method !== "POST") {
      throw new Refusal("BAD_REQUEST", "the methods are GET, HEAD and POST", { status: 405 });
    }
    const strange = [...target.raw.keys()].find((name) => name !== "release");
    if (strange) {
      throw new Refusal("BAD_REQUEST", `with POST, ${strange} is in the body`, { field: strange });
    }
    if (mediaType !== JSON_TYPE && mediaType !== FORM_TYPE) {
      const message = `the body is ${JSON_TYPE} or ${FORM_TYPE}`;
      throw new Refusal("BAD_REQUEST", message, { status: 415, field: "content-type" });
    }
    const release = target.release || releaseOf(text(request.headers[RELEASE_HEADER]));
    const isForm = mediaType === FORM_TYPE;
    const limit = isForm ? MAX_FORM_BYTES : MAX_JSON_BYTES;
    const outcome = await this.#parts.bodies.read(request, limit, async (body) => {
      const contentType = request.headers["content-type"] ?? "";
      const asked = isForm ? await fromForm(contentType, body) : fromJson(body);
      const operation = await this.#checked(asked, caller);
      if (operation.isQuery && !isForm) return this.#shared(operation, release, caller);
      const own = await this.#execute(operation, release, caller, caller.signal);
      caller.timings.take(own.timings, false);
      return own;
    });
    const accepted = request.headers.accept ?? "";
    const isNew = accepted.includes(RESPONSE_TYPE) && !accepted.includes(JSON_TYPE);
    const body = this.#body(outcome, caller);
    return json(200, body, { "cache-control": FORGET }, isNew ? RESPONSE_TYPE : JSON_TYPE);
  }

  /** The operation that is asked for. Throws Refusal, Refusals. */
  async #checked(asked: Asked, { tenant, account }: Caller): Promise<Ready> {
    const { documents, operations, router } = this.#parts;
    const { schema, version: graph } = await router.graph();
    const source = this.#text(asked, tenant);
    const checked = operations.check(schema, source, asked.operationName, asked.variables);
    account.operation = { name: checked.title, isQuery: checked.isQuery, used: checked.used };
    if (asked.hash && asked.text) documents.register(tenant, asked.hash, source);
    return { ...checked, graph };
  }

  #text({ text, hash }: Asked, tenant: string): string {
    const { documents, onlyKnown } = this.#parts;
    const actual = text === undefined ? (hash ?? "") : hashOf(text);
    if (hash && hash !== actual) {
      const message = "the document's id is not the SHA-256 of its text";
      throw new Refusal("BAD_REQUEST", message, { field: "documentId" });
    }
    if (onlyKnown && !documents.isKnown(actual)) {
      const message = "only known documents run here";
      throw new Refusal("QUERY_NOT_IN_SAFELIST", message, { status: 403 });
    }
    const found = text ?? documents.find(tenant, actual);
    if (found !== undefined) return found;
    // Apollo's protocol: in these words, and with 200, clients send the text once more.
    throw new Refusal("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", { status: 200 });
  }

  /** What would answer now, when the caller has all images; else nothing. */
  async #standing(
    operation: Checked,
    release: string,
    caller: Caller,
  ): Promise<Maker | undefined> {
    const { subgraphs, token, log } = this.#parts;
    const call = new Call({ ...caller, token, release });
    const ids = JSON.stringify({ ids: operation.ids });
    try {
      const answer = await subgraphs.post("/images/standing", ids, call, call.remainingMs());
      return answer.status === 200 ? answer.maker : undefined;
    } catch (error) {
      caller.signal.throwIfAborted();
      const { traceId } = caller.span;
      log.warning("standing not known", { reason: String(error), trace_id: traceId });
      return undefined; // the execution will say what is wrong
    }
  }

  async #shared(operation: Ready, release: string, caller: Caller): Promise<Outcome> {
    const { graph, hash, name, variables } = operation;
    const key = [caller.tenant, graph, release, hash, name, canonical(variables)].join("\0");
    let isMine = false;
    try {
      const outcome = await this.#flights.join(key, caller.deadline, caller.signal, (signal) => {
        isMine = true;
        return this.#execute(operation, release, caller, signal);
      });
      if (!isMine) {
        caller.span.join(outcome.span);
        this.#parts.metrics.joined();
      }
      caller.timings.take(outcome.timings, !isMine);
      return outcome;
    } catch (error) {
      if (error instanceof Late) return late(caller.span);
      throw error;
    }
  }

  async #execute(
    operation: Checked,
    release: string,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { router, token } = this.#parts;
    const kind = operation.isQuery ? "query" : "mutation";
    const span = caller.span.child(kind, "internal", {
      "graphql.operation.type": kind,
      ...(operation.name && { "graphql.operation.name": operation.name }),
      "visionmesh.document.hash": operation.hash,
    });
    const mayPresume = operation.isQuery; // what a mutation does is done once
    let call = new Call({ ...caller, span, signal, token, release, mayPresume });
    const result = await recorded(span, async () => {
      if (operation.isEmpty) return { data: {} };
      const presumed = await router.execute(operation, call).finally(() => call.settle());
      const corrected = await call.corrected();
      if (!corrected) return presumed;
      call = corrected;
      return router.execute(operation, call);
    });
    signal.throwIfAborted(); // what failed then says nothing
    const note = (error: GraphQLError) => this.#unexpected(error, span.traceId);
    const errors = (result.errors ?? []).map((error) => masked(error, note));
    const data = JSON.stringify(result.data ?? null);
    const maker = errors.length ? undefined : call.madeBy();
    return { data, errors, maker, span, timings: call.timings };
  }

  /** An outcome as one of those who share it is told it. */
  #body({ data, errors, span }: Outcome, { span: { traceId }, account }: Caller): string {
    if (!errors.length) return `{"data":${data}}`;
    account.codes = errors.map(({ extensions }) => extensions.code);
    // What went wrong is logged, here and behind, with the trace of who began.
    const begun = span.traceId;
    const { log } = this.#parts;
    if (traceId !== begun) log.info("errors of a shared execution", { trace_id: traceId, begun });
    const own = errors.map((error) => traced(error, traceId));
    return `{"data":${data},"errors":${JSON.stringify(own)}}`;
  }

  #kept(operation: Ready, target: Target, maker: Maker): { etag: string } & Answer["headers"] {
    const { graph, hash, name = "", variables } = operation;
    const { release, representation } = maker;
    return {
      "cache-control": target.release ? PINNED : KEEP,
      etag: etagOf(graph, release, representation, hash, name, canonical(variables)),
      "content-location": pinnedUrl(target, release),
    };
  }

  #refused(error: unknown, { traceId }: Span, account: Account): Answer {
    let all: readonly Refusal[] = [new Refusal("INTERNAL", "internal error", { status: 500 })];
    if (error instanceof Refusal) all = [error];
    else if (error instanceof Refusals) all = error.all;
    else this.#unexpected(error, traceId);
    account.codes = all.map(({ code }) => code);
    const status = all[0]?.status ?? 500;
    const errors = all.map((refusal) => told(refusal, traceId));
    return json(status, JSON.stringify({ errors }), {
      "cache-control": FORGET,
      ...(status === 405 && { allow: "GET, HEAD, POST" }),
      ...(status === 503 && { "retry-after": "1" }),
    });
  }

  #unexpected(error: unknown, traceId: string): void {
    const cause = (error as GraphQLError | undefined)?.originalError ?? error;
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    this.#parts.log.error("unexpected error", { reason, trace_id: traceId });
  }
}

/** What an execution has come to for who can wait no longer for it. */
function late(span: Span): Outcome {
  const extensions = { code: "DEADLINE_EXCEEDED" };
  const errors = [{ message: "no answer within the deadline", extensions }];
  return { data: "null", errors, maker: undefined, span, timings: new Timings() };
}

function json(
  status: number,
  body: string,
  headers: Record<string, string>,
  type = JSON_TYPE,
): Answer {
  return { status, body, headers: { "content-type": `${type}; charset=utf-8`, ...headers } };
}

function notModified(headers: Record<string, string>): Answer {
  return { status: 304, headers, body: "" };
}

/** An execution, whose span ends with it. */
async function recorded(
  span: Span,
  execute: () => Promise<ExecutionResult>,
): Promise<ExecutionResult> {
  try {
    const result = await execute();
    const [first] = result.errors ?? [];
    if (first) span.fail(String(first.extensions["code"] ?? "INTERNAL"));
    return result;
  } catch (error) {
    span.fail(error instanceof Error ? error.constructor.name : "Error");
    throw error;
  } finally {
    span.end();
  }
}
