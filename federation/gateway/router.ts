// Hive Gateway, which plans and executes: our plugin brings it requests and takes its results.
import {
  type GatewayPlugin,
  type GatewayRuntime,
  type UnifiedGraphHandler,
  createGatewayRuntime,
} from "@graphql-hive/gateway-runtime";
import { unifiedGraphHandler } from "@graphql-hive/router-runtime";
import type { DocumentNode, ExecutionResult, GraphQLSchema } from "graphql";

import type { Call } from "./call.ts";
import contract from "./contract.json" with { type: "json" };
import { Refusal } from "./errors.ts";
import type { Executions } from "./execution.ts";
import type { Log } from "./log.ts";
import type { SupergraphFile } from "./supergraph.ts";

const DRAIN_MS = contract.defaultTimeoutMs; // what runs on an earlier supergraph finishes on it

const UNREADABLE = "Failed to parse query"; // as the planner says

/** One operation that was checked. */
export interface Operation {
  text: string;
  document: DocumentNode;
  name: string | undefined;
  variables: Readonly<Record<string, unknown>>;
}

/** What is known of one request on its way through the router, which copies what it is in. */
interface Work {
  call: Call;
  operation: Operation;
  result?: ExecutionResult;
}

/** What clients may ask, and the supergraph's version that it belongs to. */
export interface Graph {
  schema: GraphQLSchema;
  version: string;
}

export class Router {
  readonly #runtime: GatewayRuntime;
  readonly #supergraph: SupergraphFile;
  readonly #pollMs: number;
  readonly #log: Log;
  #graph: Graph | undefined;
  #lookedAt = 0;
  #looking: Promise<void> | undefined;

  /** `pollMs`: how old what is known of the supergraph's file may be. */
  constructor(supergraph: SupergraphFile, executions: Executions, pollMs: number, log: Log) {
    this.#supergraph = supergraph;
    this.#pollMs = pollMs;
    this.#log = log;
    const signals = ["SIGINT", "SIGTERM"] as const;
    const before = signals.map((name) => process.listeners(name));
    this.#runtime = createGatewayRuntime({
      supergraph: () => supergraph.read(),
      gracefulSchemaReload: { drainTimeout: DRAIN_MS },
      unifiedGraphHandler: unifiedGraphHandler as unknown as UnifiedGraphHandler,
      transports: { http: executions.transport() },
      plugins: () => [this.#plugin()],
      // What goes wrong is masked where it is written (errors.ts), and what comes in was checked.
      maskedErrors: false,
      subgraphErrors: false,
      requestId: false,
      landingPage: false,
      graphiql: false,
      cors: false,
      logging: "error",
    });
    // It disposes of itself at once when a signal comes: stopping is ours, after what is in flight.
    signals.forEach((name, index) => {
      for (const listener of process.listeners(name)) {
        if (!before[index]?.includes(listener)) process.off(name, listener);
      }
    });
  }

  /** Of the file as it was at most `pollMs` ago. Throws when there never was a good one. */
  async graph(): Promise<Graph> {
    if (!this.#graph) await this.#runtime.getSchema();
    else if (performance.now() - this.#lookedAt >= this.#pollMs) {
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
      await this.#looking;
    }
    if (!this.#graph) throw new Error("there is no supergraph");
    return this.#graph;
  }

  /** The router's own polling would answer by the old graph while it looks. */
  async #look(): Promise<void> {
    try {
      await this.#runtime.invalidateUnifiedGraph();
    } catch (error) {
      this.#log.error("supergraph not taken up", { reason: String(error) });
    }
    this.#lookedAt = performance.now();
  }

  /** Throws Refusal for a document that is one, and that the planner cannot read. */
  async execute(operation: Operation, call: Call): Promise<ExecutionResult> {
    const work: Work = { call, operation };
    await this.#runtime.fetch("http://gateway/graphql", { method: "POST" }, { work });
    if (!work.result) throw new Error("the router gave no result");
    return settled(work.result);
  }

  async close(): Promise<void> {
    await this.#runtime[Symbol.asyncDispose]();
  }

  #plugin(): GatewayPlugin {
    const workOf = (context: object) => (context as { work: Work }).work;
    return {
      onSchemaChange: ({ schema }) => {
        this.#graph = { schema, version: this.#supergraph.version };
      },
      onRequestParse: ({ serverContext, setRequestParser }) => {
        const { text, name, variables } = workOf(serverContext).operation;
        setRequestParser(() => ({
          query: text,
          ...(name && { operationName: name }),
          variables: { ...variables },
        }));
      },
      // Plans are kept by the parsed document.
      onParse: ({ context, setParsedDocument }) =>
        setParsedDocument(workOf(context).operation.document),
      onValidate: ({ setResult }) => setResult([]),
      onResultProcess: ({ result, serverContext, setResultProcessor }) => {
        workOf(serverContext).result = result as ExecutionResult;
        setResultProcessor((_result, fetchAPI) => new fetchAPI.Response(null), "*/*");
      },
    };
  }
}

/** A result as the specification has it, also where the router gives none. */
function settled(result: ExecutionResult): ExecutionResult {
  const { data, errors = [] } = result;
  if (!data && errors.length === 0) return { data: {} };
  // The planner reads fewer escapes and numbers in literals than the specification has.
  if (errors.some(({ message }) => message.startsWith(UNREADABLE))) {
    const message = "a literal cannot be read here: send its value as a variable";
    throw new Refusal("BAD_REQUEST", message, { field: "query" });
  }
  return result;
}
