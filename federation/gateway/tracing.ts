// The trace that a request belongs to, as W3C trace context (https://www.w3.org/TR/trace-context/),
// and what is told of it where it is recorded (telemetry.ts).
import { randomBytes } from "node:crypto";

import type { Log } from "./log.ts";

const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

export type Attributes = Record<string, string | number>;

export type Kind = "server" | "client" | "internal";

/** Something that takes a while, in a trace. Recorded or not, whoever begins one ends it. */
export interface Span {
  readonly traceId: string;
  /** What callees are sent, so that what they do is below this. */
  readonly headers: Readonly<Record<string, string>>;
  /** What happens within this, or because of it. */
  child(name: string, kind: Kind, attributes: Attributes): Span;
  say(attributes: Attributes): void;
  /** Waits for what is told elsewhere. */
  join(other: Span): void;
  /** Failed with an error of this type. */
  fail(type: string): void;
  end(): void;
}

/** Begins the first span of a request. */
export interface Tracing {
  begin(context: Parent | undefined, name: string, attributes: Attributes): Span;
  /** Sends what was recorded, for a moment at most. */
  close(): Promise<void>;
}

/** What a caller says of the trace that it is in. */
export interface Parent {
  traceId: string;
  spanId: string;
  flags: number;
  state: string;
}

/** Nothing when the header is missing or malformed: then a trace begins here. */
export function parentOf(
  traceparent: string | undefined,
  tracestate: string | undefined,
): Parent | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? "") ?? [];
  if (!traceId || !spanId || !flags) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16), state: tracestate ?? "" };
}

export function headersOf({ traceId, spanId, flags, state }: Parent): Record<string, string> {
  const traceparent = `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, "0")}`;
  return { traceparent, ...(state && { tracestate: state }) };
}

/** A span that nobody records: the caller's own is what callees are told. */
export class Unrecorded implements Span {
  readonly traceId: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(parent: Parent) {
    this.traceId = parent.traceId;
    this.headers = headersOf(parent);
  }

  child(): Span {
    return this;
  }

  say(): void {}
  join(): void {}
  fail(): void {}
  end(): void {}
}

/** Several that begin, fail and end as one; what happens within them is below `parent`. */
export class Spans implements Span {
  readonly traceId: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly #parent: Span;
  readonly #spans: readonly Span[];

  constructor(parent: Span, spans: readonly Span[]) {
    this.traceId = parent.traceId;
    this.headers = parent.headers;
    this.#parent = parent;
    this.#spans = spans;
  }

  child(name: string, kind: Kind, attributes: Attributes): Span {
    return this.#parent.child(name, kind, attributes);
  }

  say(attributes: Attributes): void {
    for (const span of this.#spans) span.say(attributes);
  }

  join(other: Span): void {
    for (const span of this.#spans) span.join(other);
  }

  fail(type: string): void {
    for (const span of this.#spans) span.fail(type);
  }

  end(): void {
    for (const span of this.#spans) span.end();
  }
}

/** Hands traces on, and records none. */
export const UNRECORDED: Tracing = {
  begin: (parent) => new Unrecorded(parent ?? newParent(1)),
  close: () => Promise.resolve(),
};

/** What records spans where the standard variables say so, else what hands traces on. */
export async function startTracing(
  env: NodeJS.ProcessEnv,
  instance: string,
  log: Log,
): Promise<Tracing> {
  const first = (...names: string[]) => names.map((name) => env[name]).find(Boolean) ?? "";
  const endpoint = first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
  const isOff =
    first("OTEL_SDK_DISABLED").toLowerCase() === "true" || first("OTEL_TRACES_EXPORTER") === "none";
  if (!endpoint || isOff) return UNRECORDED;
  const protocol = first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
  if (protocol && protocol !== "grpc") {
    log.warning("no traces are exported: OTLP goes over gRPC here", { protocol });
    return UNRECORDED;
  }
  // Only here: the SDK and gRPC take a third of a second of a start.
  const { Telemetry } = await import("./telemetry.ts");
  return new Telemetry(env, instance, log);
}

function newParent(flags: number): Parent {
  const traceId = randomBytes(16).toString("hex");
  return { traceId, spanId: randomBytes(8).toString("hex"), flags, state: "" };
}
