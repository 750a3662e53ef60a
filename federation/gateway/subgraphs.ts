// HTTP to the subgraphs, over connections that stay open.
//
// An undici Pool rather than the router's own transport, which costs a `fetch` a call: headers, the
// deadline and the trace are put on by hand here.
import { type FormData, Pool } from "undici";

import type { Call, Maker } from "./call.ts";
import { TENANT_HEADER, TOKEN_HEADER } from "./tenancy.ts";
import { TIMING_HEADER } from "./timing.ts";
import { type Span, Spans } from "./tracing.ts";

export const RELEASE_HEADER = "x-visionmesh-release";
const REPRESENTATION_HEADER = "x-visionmesh-representation";
export const TIMEOUT_HEADER = "x-request-timeout-ms";

const CONNECT_TIMEOUT_MS = 500; // as Envoy's own
const IDLE_MS = 60_000; // less than subgraphs keep their end open: federation/subgraphs/server.py
const CONNECTIONS = 128; // to one place; a request more waits (a guess)
const MAX_FOREIGN_BYTES = 16_000_000; // one answer of another team (a guess)
const DOWN_MS = 1_000; // how long a place that failed is left out (a guess)
const PROBE_TIMEOUT_MS = 1_000;

/** A call that was given less says little about who is late with it (a guess). */
export const PATIENCE_MS = 5_000;

const UNCONNECTED: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** No subgraph could be reached, or what answered was no answer. */
export class SubgraphLost extends Error {}

/** There was no answer in time. */
export class SubgraphLate extends Error {}

export interface SubgraphAnswer {
  status: number;
  /** Nothing when it has no release, or is of another team. */
  maker: Maker | undefined;
  content: unknown;
  /** How long models took, as Server-Timing; of other teams nothing is believed. */
  timings: string;
  /** What its part of a request took, where it was one of several. */
  seconds?: number;
}

/** One of several questions to subgraphs of ours. */
export interface Asked {
  name: string;
  /** JSON. */
  body: string;
}

interface Place {
  host: string;
  port: number;
  pool: Pool;
  path: string;
  downUntil: number;
  /** It took a request and gave no answer, or ends: it must say that it lives before it is sent another. */
  isSuspect: boolean;
  isProbed: boolean;
}

export interface SubgraphsOptions {
  /** Of another team: told the tenant and never the token, and no release is believed of it. */
  isForeign?: boolean;
  /** In milliseconds. */
  now?: () => number;
  /** How much time a call must have been given for its being late to say something. */
  patienceMs?: number;
}

export class Subgraphs {
  readonly #places: readonly Place[];
  readonly #isForeign: boolean;
  readonly #now: () => number;
  readonly #patienceMs: number;
  #next = 0;

  /** `addresses` are base URLs of processes that all serve the same subgraphs. */
  constructor(addresses: readonly string[], options: SubgraphsOptions = {}) {
    this.#isForeign = options.isForeign ?? false;
    this.#now = options.now ?? (() => performance.now());
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#places = addresses.map((address) => ({
      host: new URL(address).hostname,
      port: portOf(new URL(address)),
      path: pathOf(address),
      pool: new Pool(new URL(address).origin, {
        connections: CONNECTIONS,
        connectTimeout: CONNECT_TIMEOUT_MS,
        keepAliveTimeout: IDLE_MS,
        keepAliveMaxTimeout: IDLE_MS,
        // The signal ends what takes too long.
        headersTimeout: 0,
        bodyTimeout: 0,
        maxResponseSize: this.#isForeign ? MAX_FOREIGN_BYTES : -1,
      }),
      downUntil: 0,
      isSuspect: false,
      isProbed: false,
    }));
  }

  /**
   * POST to a path below an address, within `timeoutMs`. A place that cannot be connected to has seen nothing, so the
   * next one is asked; nothing else is sent twice. A place that gave no answer is left out of the next
   * requests. Throws SubgraphLost, SubgraphLate, and the
   * call's own reason when nobody waits for it any more.
   */
  async post(
    below: string,
    body: string | FormData,
    call: Call,
    timeoutMs: number,
  ): Promise<SubgraphAnswer> {
    const timer = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)));
    const signal = AbortSignal.any([timer, call.signal]);
    const span = asking(below, call);
    try {
      const answer = await this.#sent(below, body, call, span, timer, signal, timeoutMs);
      told(span, answer.status);
      return answer;
    } catch (error) {
      span.fail(error instanceof Error ? error.constructor.name : "Error");
      throw error;
    } finally {
      span.end();
    }
  }

  /**
   * Ask several subgraphs of ours in one request; their answers in order. Nothing when they do not
   * know how: an earlier version's, while a mesh is brought from one to the next.
   */
  async ask(
    parts: readonly Asked[],
    call: Call,
    timeoutMs: number,
  ): Promise<SubgraphAnswer[] | undefined> {
    const timer = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)));
    const signal = AbortSignal.any([timer, call.signal]);
    const spans = parts.map(({ name }) => asking(`/${name}`, call));
    const span = new Spans(call.span, spans);
    const sent = parts.map(
      ({ name, body }, index) =>
        `{"subgraph":${JSON.stringify(name)},"trace":${JSON.stringify(spans[index]?.headers)},"request":${body}}`,
    );
    try {
      const body = `[${sent.join(",")}]`;
      const answer = await this.#sent("/together", body, call, span, timer, signal, timeoutMs);
      if (answer.status === 404) return undefined;
      const answers = partsOf(answer, parts.length);
      answers.forEach(({ status }, index) => told(spans[index] as Span, status));
      return answers;
    } catch (error) {
      span.fail(error instanceof Error ? error.constructor.name : "Error");
      throw error;
    } finally {
      span.end();
    }
  }

  async #sent(
    below: string,
    body: string | FormData,
    call: Call,
    span: Span,
    timer: AbortSignal,
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<SubgraphAnswer> {
    const headers = {
      ...headersOf(body, call, span, timeoutMs),
      ...(!this.#isForeign && ourHeadersOf(call)),
    };
    let refused: unknown;
    for (const place of this.#order()) {
      const path = place.path + below || "/";
      try {
        span.say({ "server.address": place.host, "server.port": place.port });
        const answer = await place.pool.request({ method: "POST", path, headers, body, signal });
        // It ends, or it may: it must say that it lives before it is sent another.
        if (answer.headers.connection === "close" && !this.#isForeign) this.#suspect(place);
        const text = await answer.body.text();
        return {
          status: answer.statusCode,
          maker: this.#isForeign ? undefined : makerOf(answer.headers),
          content: answer.statusCode === 404 ? undefined : JSON.parse(text), // a path it does not have
          timings: this.#isForeign ? "" : timingsOf(answer.headers),
        };
      } catch (error) {
        call.signal.throwIfAborted();
        if (timer.aborted) {
          if (timeoutMs >= this.#patienceMs) this.#suspect(place);
          throw new SubgraphLate(path, { cause: error });
        }
        if (!neverConnected(error)) {
          if (!(error instanceof SyntaxError)) this.#suspect(place); // that was an answer
          throw new SubgraphLost(path, { cause: error });
        }
        this.#leaveOut(place);
        refused = error;
      }
    }
    throw new SubgraphLost(below, { cause: refused });
  }

  /** Whether some place says that its subgraphs can work. */
  async ready(): Promise<boolean> {
    const asked = this.#places.map(async ({ pool }) => {
      const signal = AbortSignal.timeout(1_000);
      const answer = await pool.request({ method: "GET", path: "/readyz", signal });
      await answer.body.dump();
      if (answer.statusCode !== 200) throw new SubgraphLost("/readyz");
    });
    return Promise.any(asked).then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#places.map(({ pool }) => pool.destroy()));
  }

  /** In turns; places that are down last. */
  #order(): readonly Place[] {
    if (this.#places.length === 1) return this.#places;
    const start = this.#next++ % this.#places.length;
    const turned = [...this.#places.slice(start), ...this.#places.slice(0, start)];
    const up = turned.filter((place) => this.#isUp(place));
    return [...up, ...turned.filter((place) => !up.includes(place))];
  }

  #isUp(place: Place): boolean {
    if (place.downUntil > this.#now()) return false;
    if (place.isSuspect && !place.isProbed) void this.#probe(place);
    return !place.isSuspect;
  }

  #leaveOut(place: Place): void {
    place.downUntil = this.#now() + DOWN_MS;
  }

  #suspect(place: Place): void {
    this.#leaveOut(place);
    place.isSuspect = !this.#isForeign; // other teams' need not have such a path
  }

  /** Ask a place whether it lives, beside the requests that others are sent meanwhile. */
  async #probe(place: Place): Promise<void> {
    place.isProbed = true;
    try {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
      const answer = await place.pool.request({ method: "GET", path: "/healthz", signal });
      await answer.body.dump();
      place.isSuspect = answer.statusCode !== 200;
    } catch {
      place.isSuspect = true;
    }
    if (place.isSuspect) this.#leaveOut(place);
    place.isProbed = false;
  }
}

function portOf(address: URL): number {
  return Number(address.port) || (address.protocol === "https:" ? 443 : 80);
}

/** Where another team's subgraph is, its address says alone. */
function asking(below: string, call: Call): Span {
  return call.span.child(below ? `POST ${below}` : "POST", "client", {
    "http.request.method": "POST",
    ...(below && { "url.template": below }),
  });
}

function told(span: Span, status: number): void {
  span.say({ "http.response.status_code": status });
  if (status >= 400) span.fail(String(status));
}

type Written = Partial<
  Record<"status" | "release" | "representation" | "content" | "seconds", unknown>
> | null;

/** The answers of several parts; all of them have what was said to all. */
function partsOf({ status, content, timings }: SubgraphAnswer, count: number): SubgraphAnswer[] {
  if (!Array.isArray(content) || content.length !== count) {
    return Array.from({ length: count }, () => ({ status, maker: undefined, content, timings }));
  }
  return content.map((part: Written, index) => ({
    status: typeof part?.status === "number" ? part.status : 500,
    maker: makerOf({
      [RELEASE_HEADER]: part?.release,
      [REPRESENTATION_HEADER]: part?.representation,
    }),
    content: part?.content,
    ...(typeof part?.seconds === "number" && { seconds: part.seconds }),
    timings: index ? "" : timings, // of all of them
  }));
}

/** What each hop keeps for itself, so that who was asked answers before who asks gives up. */
function reserveMs(timeoutMs: number): number {
  return Math.min(100, timeoutMs / 10);
}

function headersOf(
  body: string | FormData,
  call: Call,
  span: Span,
  timeoutMs: number,
): Record<string, string> {
  return {
    ...(typeof body === "string" && { "content-type": "application/json" }),
    accept: "application/json",
    ...span.headers,
    [TENANT_HEADER]: call.tenant,
    [TIMEOUT_HEADER]: String(Math.max(1, Math.floor(timeoutMs - reserveMs(timeoutMs)))),
  };
}

/** What only processes of this mesh are told. */
function ourHeadersOf(call: Call): Record<string, string> {
  return {
    ...(call.token && { [TOKEN_HEADER]: call.token }),
    ...(call.release && { [RELEASE_HEADER]: call.release }),
  };
}

/** What an address has behind its origin; nothing when that is the root. */
function pathOf(address: string): string {
  const { pathname, search } = new URL(address);
  return (pathname === "/" ? "" : pathname) + search;
}

function makerOf(headers: Record<string, unknown>): Maker | undefined {
  const release = headers[RELEASE_HEADER];
  const representation = headers[REPRESENTATION_HEADER];
  if (typeof release !== "string" || !release) return undefined;
  return { release, representation: typeof representation === "string" ? representation : "" };
}

function timingsOf(headers: Record<string, unknown>): string {
  const told = headers[TIMING_HEADER];
  return typeof told === "string" ? told : "";
}

function neverConnected(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && UNCONNECTED.has(code);
}
