// What the gateway measures, as Prometheus reads it; docs/metrics.md lists all of it. No label has
// more values than are known beforehand: see bounded.ts.
import { Counter, Histogram, Registry } from "prom-client";

import { Bounded } from "./bounded.ts";
import contract from "./contract.json" with { type: "json" };
import type { Used } from "./usage.ts";

const NAMES = 100; // of operations that are in no manifest (a guess)
const CLIENTS = 100; // tenants that use what is deprecated (a guess)
const PENDING = 1_000; // operations whose fields are not added up yet

const LATENCIES_S = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60,
];

export const NAMELESS = "anonymous";

/** What a subgraph's answer came to. */
export type Asked = "ok" | "late" | "lost" | "not asked";

export interface Operation {
  name: string | undefined;
  isQuery: boolean;
  used: Used;
}

/** What is told of one request when it is over. */
export class Account {
  operation: Operation | undefined;
  tenant = "";
  /** Of errors in the answer. */
  codes: readonly string[] = [];
}

/** A clock that starts now; seconds. */
export function clock(): () => number {
  const began = performance.now();
  return () => (performance.now() - began) / 1000;
}

export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Histogram<"method" | "route" | "status">;
  readonly #operations: Counter<"operation" | "type" | "outcome">;
  readonly #durations: Histogram<"operation" | "type">;
  readonly #errors: Counter<"code">;
  readonly #joined: Counter;
  readonly #subgraphs: Histogram<"subgraph" | "outcome">;
  readonly #fields: Counter<"type" | "field">;
  readonly #deprecated: Counter<"type" | "field" | "client">;
  readonly #names: Bounded;
  readonly #clients = new Bounded(CLIENTS);
  readonly #codes: Bounded;
  // Added up when somebody looks: a document may name a hundred fields, in each of its requests.
  #pending = new Map<Used, number>();

  /** `names` are those of operations that have a label of their own, whatever others there are. */
  constructor(names: Iterable<string> = []) {
    const registers = [this.registry];
    this.#names = new Bounded(NAMES, [...names, NAMELESS]);
    this.#codes = new Bounded(50, contract.codes);
    this.#requests = new Histogram({
      name: "visionmesh_http_server_duration_seconds",
      help: "Requests that were answered, by how long they took",
      labelNames: ["method", "route", "status"],
      buckets: LATENCIES_S,
      registers,
    });
    this.#operations = new Counter({
      name: "visionmesh_graphql_operations_total",
      help: "Operations that were answered, by name; error is one error or more in the answer",
      labelNames: ["operation", "type", "outcome"],
      registers,
    });
    this.#durations = new Histogram({
      name: "visionmesh_graphql_operation_duration_seconds",
      help: "Operations, by how long their answers took",
      labelNames: ["operation", "type"],
      buckets: LATENCIES_S,
      registers,
    });
    this.#errors = new Counter({
      name: "visionmesh_graphql_errors_total",
      help: "Errors in answers, by code",
      labelNames: ["code"],
      registers,
    });
    this.#joined = new Counter({
      name: "visionmesh_graphql_joined_total",
      help: "Operations that were answered by the execution of an equal one",
      registers,
    });
    this.#subgraphs = new Histogram({
      name: "visionmesh_graphql_subgraph_duration_seconds",
      help: "Requests to subgraphs, by what they came to and how long they took",
      labelNames: ["subgraph", "outcome"],
      buckets: LATENCIES_S,
      registers,
    });
    const collect = () => this.#addUp();
    this.#fields = new Counter({
      name: "visionmesh_graphql_fields_total",
      help: "Operations that name a field of the graph",
      labelNames: ["type", "field"],
      registers,
      collect,
    });
    this.#deprecated = new Counter({
      name: "visionmesh_graphql_deprecated_fields_total",
      help: "Operations that name a deprecated field of the graph, by whose they are",
      labelNames: ["type", "field", "client"],
      registers,
    });
  }

  /** A request to the endpoint is over. */
  ended(method: string, status: number, seconds: number, account: Account): void {
    this.#requests.observe({ method, route: "/graphql", status }, seconds);
    for (const code of account.codes) this.#errors.inc({ code: this.#codes.of(code) });
    if (!account.operation) return;
    const { name, isQuery, used } = account.operation;
    const operation = this.#names.of(name || NAMELESS);
    const type = isQuery ? "query" : "mutation";
    const outcome = account.codes.length || status >= 400 ? "error" : "ok";
    this.#operations.inc({ operation, type, outcome });
    this.#durations.observe({ operation, type }, seconds);
    this.#pending.set(used, (this.#pending.get(used) ?? 0) + 1);
    if (this.#pending.size >= PENDING) this.#addUp();
    if (!used.deprecated.length) return;
    const client = this.#clients.of(account.tenant);
    for (const { type, field } of used.deprecated) this.#deprecated.inc({ type, field, client });
  }

  /** An operation waits for an execution that is under way. */
  joined(): void {
    this.#joined.inc();
  }

  /** A subgraph was asked, or would have been. */
  asked(subgraph: string, outcome: Asked, seconds: number): void {
    this.#subgraphs.observe({ subgraph, outcome }, seconds);
  }

  #addUp(): void {
    const pending = this.#pending;
    this.#pending = new Map();
    for (const [{ all }, count] of pending) {
      for (const { type, field } of all) this.#fields.inc({ type, field }, count);
    }
  }
}
