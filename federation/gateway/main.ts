// The gateway's process: `node federation/gateway/main.ts`.
import { Bodies } from "./bodies.ts";
import contract from "./contract.json" with { type: "json" };
import { Documents, readManifest } from "./documents.ts";
import { Endpoint } from "./endpoint.ts";
import { Executions } from "./execution.ts";
import { Exposition } from "./exposition.ts";
import { graphiqlPage } from "./graphiql.ts";
import { createLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Operations } from "./operations.ts";
import { measureProcess } from "./process_metrics.ts";
import { Router } from "./router.ts";
import { GatewayServer } from "./server.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { Subgraphs } from "./subgraphs.ts";
import { SupergraphFile } from "./supergraph.ts";
import { startTracing } from "./tracing.ts";

const GRACE_MS = contract.defaultTimeoutMs; // nothing has a longer deadline

async function main(settings: Settings): Promise<void> {
  const { token, onlyKnown, production } = settings;
  const log = createLog(settings.logLevel, settings.logJson);
  const tracing = await startTracing(process.env, `${settings.host}:${settings.port}`, log);
  const supergraph = new SupergraphFile(settings.supergraph, log);
  await supergraph.read();
  const { documents: known, names } = readManifest(settings.documents);
  const metrics = new Metrics(names);
  const exposition = new Exposition(metrics.registry);
  let metricsPort: number | undefined;
  if (settings.metricsPort !== undefined) {
    measureProcess(metrics.registry);
    metricsPort = await exposition.listen(settings.metricsPort, settings.metricsHost);
  }
  const subgraphs = new Subgraphs(settings.subgraphs);
  const foreign = new Map(
    [...settings.foreign].map(([name, places]) => [name, new Subgraphs(places, { isForeign: true })] as const),
  );
  const executions = new Executions(subgraphs, foreign, settings.timeoutsMs, log, metrics);
  const router = new Router(supergraph, executions, settings.pollMs, log);
  await router.graph();
  const endpoint = new Endpoint({
    router,
    subgraphs,
    documents: new Documents(known),
    operations: new Operations(production),
    bodies: new Bodies(settings.uploadBudgetBytes),
    token,
    onlyKnown,
    tracing,
    metrics,
    log,
  });
  const page = production || onlyKnown ? undefined : graphiqlPage(known.values());
  const server = new GatewayServer(endpoint, () => subgraphs.ready(), page);
  const port = await server.listen(settings.port, settings.host);
  const ending = toldToEnd(settings.lameDuckMs, () => {
    log.info("draining");
    server.leave();
  });
  log.info("serving", { address: `${settings.host}:${port}`, metrics_port: metricsPort });
  await ending;
  await server.close(GRACE_MS);
  await router.close();
  await Promise.all([subgraphs, ...foreign.values()].map((each) => each.close()));
  await exposition.close();
  await tracing.close();
}

/**
 * Waits for a signal, and on SIGTERM for so long again: until nobody sends anything new. SIGINT, and a
 * second signal, cut that short. As services/serving/ending.py.
 */
function toldToEnd(lameDuckMs: number, begin: () => void): Promise<void> {
  return new Promise((resolve) => {
    let isTold = false;
    const told = (isUrgent: boolean) => {
      if (!isTold) begin();
      if (isUrgent || isTold) return resolve();
      isTold = true;
      setTimeout(resolve, lameDuckMs);
    };
    process.on("SIGTERM", () => told(false));
    process.on("SIGINT", () => told(true));
  });
}

try {
  await main(settingsOf(process.env));
  process.exit(0);
} catch (error) {
  // What is wrong outside of the program, a person can put right: no stack.
  const reason = error instanceof Error ? error.message : String(error);
  process.stderr.write(`gateway: ${reason.split("\n").join(" ")}\n`);
  process.exit(1);
}
