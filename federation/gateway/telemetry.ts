// Spans of the gateway, exported by OpenTelemetry's SDK as its standard variables say. Loaded only
// where there is an endpoint: see `startTracing`.
import {
  type Context,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  createTraceState,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

import type { Log } from "./log.ts";
import { type Attributes, type Kind, type Parent, type Span, type Tracing, Unrecorded, headersOf } from "./tracing.ts";

const FLUSH_MS = 1_000; // `visionmesh up` waits 3 s for a process to end

const KINDS: Record<Kind, SpanKind> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
};

class Recorded implements Span {
  readonly #tracer: Tracer;
  readonly #context: Context;
  readonly #span: SdkSpan;

  constructor(tracer: Tracer, above: Context, span: SdkSpan) {
    this.#tracer = tracer;
    this.#span = span;
    this.#context = trace.setSpan(above, span);
  }

  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  get headers(): Record<string, string> {
    return headersOf(parentIn(this.#span));
  }

  child(name: string, kind: Kind, attributes: Attributes): Span {
    const span = this.#tracer.startSpan(name, { kind: KINDS[kind], attributes }, this.#context);
    return new Recorded(this.#tracer, this.#context, span);
  }

  say(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  join(other: Span): void {
    this.#span.addEvent("execution.joined");
    if (other instanceof Recorded) this.#span.addLink({ context: other.#span.spanContext() });
  }

  fail(type: string): void {
    this.#span.setAttribute("error.type", type);
    this.#span.setStatus({ code: SpanStatusCode.ERROR });
  }

  end(): void {
    this.#span.end();
  }
}

/** Records what is sampled. */
export class Telemetry implements Tracing {
  readonly #tracer: Tracer;
  readonly #provider: TracerProvider;

  constructor(env: NodeJS.ProcessEnv, instance: string, log: Log) {
    const delay = Number(env["OTEL_BSP_SCHEDULE_DELAY"]);
    const exporter = new Told(new OTLPTraceExporter(), log);
    this.#provider = new TracerProvider({
      sampler: samplerOf(env),
      resource: resourceFromAttributes({
        "service.name": "gateway",
        "service.namespace": "visionmesh",
        "service.instance.id": instance,
        ...pairs(env["OTEL_RESOURCE_ATTRIBUTES"]),
        ...(env["OTEL_SERVICE_NAME"] && { "service.name": env["OTEL_SERVICE_NAME"] }),
      }),
      spanProcessors: [
        new BatchSpanProcessor({ exporter, ...(delay > 0 && { scheduledDelayMillis: delay }) }),
      ],
    });
    this.#tracer = this.#provider.getTracer("visionmesh");
  }

  begin(parent: Parent | undefined, name: string, attributes: Attributes): Span {
    const above = parent ? trace.setSpanContext(ROOT_CONTEXT, remote(parent)) : ROOT_CONTEXT;
    const span = this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, above);
    if (span.isRecording()) return new Recorded(this.#tracer, above, span);
    // A span that nobody records is nobody's parent.
    const found = parentIn(span);
    return new Unrecorded({ ...found, spanId: parent?.spanId ?? found.spanId });
  }

  async close(): Promise<void> {
    const late = new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
    await Promise.race([this.#provider.shutdown().catch(() => undefined), late]);
  }
}

/** Says once that spans cannot be exported, and once that they can be again. */
class Told implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #log: Log;
  #failing = false;

  constructor(exporter: SpanExporter, log: Log) {
    this.#exporter = exporter;
    this.#log = log;
  }

  export(spans: ReadableSpan[], done: Parameters<SpanExporter["export"]>[1]): void {
    this.#exporter.export(spans, (result) => {
      const failed = Boolean(result.error);
      if (failed && !this.#failing) this.#log.warning("traces cannot be exported");
      if (!failed && this.#failing) this.#log.info("traces are exported again");
      this.#failing = failed;
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }
}

function samplerOf(env: NodeJS.ProcessEnv): Sampler {
  const name = (env["OTEL_TRACES_SAMPLER"] || "parentbased_always_on").toLowerCase();
  const own = name.replace("parentbased_", "");
  const ratio = Number(env["OTEL_TRACES_SAMPLER_ARG"] || "1");
  let root: Sampler = new AlwaysOnSampler();
  if (own === "always_off") root = new AlwaysOffSampler();
  if (own === "traceidratio" && ratio >= 0 && ratio <= 1) root = new TraceIdRatioBasedSampler(ratio);
  return own === name ? root : new ParentBasedSampler({ root });
}

function remote({ traceId, spanId, flags, state }: Parent) {
  const traceState = state ? createTraceState(state) : undefined;
  return { traceId, spanId, traceFlags: flags, isRemote: true, ...(traceState && { traceState }) };
}

function parentIn(span: SdkSpan): Parent {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  return { traceId, spanId, flags: traceFlags, state: traceState?.serialize() ?? "" };
}

/** `a=1,b=2`, percent-encoded. */
function pairs(text = ""): Record<string, string> {
  const entries = text.split(",").filter((pair) => pair.includes("="));
  return Object.fromEntries(
    entries.map((pair) => {
      const [name = "", value = ""] = pair.split("=", 2);
      return [name.trim(), decodeURIComponent(value.trim())];
    }),
  );
}
