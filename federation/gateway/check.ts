// A process that ends well when queries can be planned by the supergraph on its standard input:
// the planner does not throw for a wrong one, it ends the process that it is in.
import { readFileSync } from "node:fs";

import { QueryPlanner } from "@graphql-hive/router-query-planner";
import { buildASTSchema, parse } from "graphql";

/** Throws when the text is none that queries could be planned by, or does not come back. */
function check(text: string): void {
  const schema = buildASTSchema(parse(text, { noLocation: true }), { assumeValidSDL: true });
  if (!schema.getQueryType()) throw new Error("it has no Query");
  if (!schema.getType("join__Graph")) throw new Error("it is no supergraph: it names no subgraphs");
  new QueryPlanner(text);
}

try {
  check(readFileSync(process.stdin.fd, "utf8"));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
