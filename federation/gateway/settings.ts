// Settings of the gateway's process, read from `VISIONMESH_*` variables as every process does.
import { isIP } from "node:net";
import path from "node:path";

export interface Settings {
  host: string;
  port: number;
  metricsHost: string;
  /** Where Prometheus is answered; nowhere without one. */
  metricsPort: number | undefined;
  /** What Envoy shows when it names a tenant; empty means everybody is `local`. */
  token: string;
  /** Where the subgraphs are served, the same ones at each place. */
  subgraphs: readonly string[];
  /** Where subgraphs of other teams are, by name. */
  foreign: ReadonlyMap<string, readonly string[]>;
  supergraph: string;
  documents: string;
  /** No introspection, no suggestions in messages, no GraphiQL. */
  production: boolean;
  /** Only documents of the manifest run. */
  onlyKnown: boolean;
  /** How often the supergraph's file is looked at. */
  pollMs: number;
  /** How long one call of a subgraph may take, `*` for those without an entry. */
  timeoutsMs: ReadonlyMap<string, number>;
  /** Request bodies in memory at once, all of them together. */
  uploadBudgetBytes: number;
  /** How long to serve on after SIGTERM, while saying that one does not. */
  lameDuckMs: number;
  logLevel: string;
  /** By default where nobody looks at a terminal. */
  logJson: boolean;
}

export class InvalidSettings extends Error {}

const FEDERATION = path.dirname(import.meta.dirname);

// Half of the longest deadline: one that hangs leaves time to say so (a guess).
const DEFAULT_TIMEOUT_MS = 30_000;

/** Throws InvalidSettings. */
export function settingsOf(env: NodeJS.ProcessEnv): Settings {
  const text = (name: string, fallback = "") => env[`VISIONMESH_${name}`] || fallback;
  const settings = {
    host: text("HOST", "127.0.0.1"),
    port: whole("PORT", text("PORT", "0")),
    metricsHost: text("METRICS_HOST", "127.0.0.1"),
    metricsPort: text("METRICS_PORT") ? whole("METRICS_PORT", text("METRICS_PORT")) : undefined,
    token: text("TOKEN"),
    subgraphs: text("SUBGRAPHS_URLS", "http://127.0.0.1:8160").split(",").map(origin),
    foreign: foreign(text("FOREIGN_SUBGRAPHS")),
    supergraph: text("SUPERGRAPH", path.join(FEDERATION, "supergraph", "supergraph.graphql")),
    documents: text("DOCUMENTS", path.join(FEDERATION, "documents", "manifest.json")),
    production: flag("GRAPHQL_PRODUCTION", text("GRAPHQL_PRODUCTION")),
    onlyKnown: flag("GRAPHQL_ONLY_KNOWN", text("GRAPHQL_ONLY_KNOWN")),
    pollMs: whole("SUPERGRAPH_POLL_MS", text("SUPERGRAPH_POLL_MS", "2000")),
    timeoutsMs: timeouts(text("SUBGRAPH_TIMEOUTS_MS")),
    uploadBudgetBytes: whole("UPLOAD_BUDGET_BYTES", text("UPLOAD_BUDGET_BYTES", "256000000")),
    lameDuckMs: seconds("LAME_DUCK_S", text("LAME_DUCK_S", "2")) * 1000,
    logLevel: text("LOG_LEVEL", "info"),
    logJson: flag("LOG_JSON", text("LOG_JSON", String(!process.stderr.isTTY))),
  };
  if (!settings.token && !isLoopback(settings.host)) {
    throw new InvalidSettings(
      `token: is needed to listen at '${settings.host}': without one only at 127.0.0.1`,
    );
  }
  return settings;
}

function whole(name: string, value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value);
  throw new InvalidSettings(`${name.toLowerCase()}: '${value}' is no whole number`);
}

function seconds(name: string, value: string): number {
  if (/^\d{1,5}(\.\d+)?$/.test(value)) return Number(value);
  throw new InvalidSettings(`${name.toLowerCase()}: '${value}' is no number of seconds`);
}

function flag(name: string, value: string): boolean {
  if (["", "0", "false", "no"].includes(value.toLowerCase())) return false;
  if (["1", "true", "yes"].includes(value.toLowerCase())) return true;
  throw new InvalidSettings(`${name.toLowerCase()}: '${value}' is neither true nor false`);
}

function url(name: string, value: string): URL {
  const parsed = URL.parse(value.trim());
  if (parsed && ["http:", "https:"].includes(parsed.protocol)) return parsed;
  throw new InvalidSettings(`${name}: '${value}' is no URL`);
}

function origin(value: string): string {
  return url("subgraphs_urls", value).origin;
}

/** `products=http://127.0.0.1:9001/graphql`; a name that is there twice has two places. */
function foreign(value: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const entry of value ? value.split(",") : []) {
    const [, name = "", address = ""] = /^\s*([a-z][a-z0-9_]*)=(.*)$/.exec(entry) ?? [];
    if (!name) {
      throw new InvalidSettings(`foreign_subgraphs: '${entry}' is no name=URL`);
    }
    const place = url("foreign_subgraphs", address).href;
    found.set(name, [...(found.get(name) ?? []), place]);
  }
  return found;
}

/** `*=30000,ocr=45000` */
function timeouts(value: string): ReadonlyMap<string, number> {
  const entries = value ? value.split(",").map((entry) => entry.split("=", 2)) : [];
  return new Map([
    ["*", DEFAULT_TIMEOUT_MS],
    ...entries.map(
      ([name = "", ms = ""]) => [name.trim(), whole("SUBGRAPH_TIMEOUTS_MS", ms)] as const,
    ),
  ]);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
