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
import type { Executions } from "./execution.ts";
import type { SupergraphFile } from "./supergraph.ts";

const DRAIN_MS = contract.defaultTimeoutMs; // what runs on an earlier supergraph finishes on it

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

export class Router {
  readonly #runtime: GatewayRuntime;
  #schema: GraphQLSchema | undefined;

  constructor(supergraph: SupergraphFile, executions: Executions, pollMs: number) {
    const signals = ["SIGINT", "SIGTERM"] as const;
    const before = signals.map((name) => process.listeners(name));
    this.#runtime = createGatewayRuntime({
      supergraph: () => supergraph.read(),
      pollingInterval: pollMs,
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

  /** What clients may ask. Throws when there never was a good supergraph. */
  async schema(): Promise<GraphQLSchema> {
    const loaded = await this.#runtime.getSchema();
    return this.#schema ?? loaded;
  }

  async execute(operation: Operation, call: Call): Promise<ExecutionResult> {
    const work: Work = { call, operation };
    await this.#runtime.fetch("http://gateway/graphql", { method: "POST" }, { work });
    if (!work.result) throw new Error("the router gave no result");
    return work.result;
  }

  async close(): Promise<void> {
    await this.#runtime[Symbol.asyncDispose]();
  }

  #plugin(): GatewayPlugin {
    const workOf = (context: object) => (context as { work: Work }).work;
    return {
      onSchemaChange: ({ schema }) => {
        this.#schema = schema;
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
