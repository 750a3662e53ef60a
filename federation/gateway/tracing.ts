// The trace that a request belongs to, as W3C trace context: https://www.w3.org/TR/trace-context/
import { randomBytes } from "node:crypto";

const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?$/;

export interface Trace {
  traceId: string;
  /** What callees are sent: the same trace, and a span of this process. */
  traceparent: string;
}

/** The caller's trace; a missing or malformed header begins a new one. */
export function traceOf(traceparent: string | undefined): Trace {
  const found = TRACEPARENT.exec(traceparent ?? "");
  const traceId = found?.[1] ?? randomBytes(16).toString("hex");
  const flags = found?.[2] ?? "01";
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-${flags}` };
}
