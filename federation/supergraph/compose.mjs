// Composes subgraphs into a supergraph: name and SDL of each in as JSON, both schemas out as JSON.
//
//     {"images": "type Query …", …}  →  {"supergraph": "…", "api": "…"}
//
// Exits with 1 and one line an error when they do not compose.
import { readFileSync } from "node:fs";

import { composeServices } from "@theguild/federation-composition";
import { parse } from "graphql";

const subgraphs = JSON.parse(readFileSync(0, "utf8"));
const result = composeServices(
  Object.entries(subgraphs).map(([name, sdl]) => ({
    name,
    typeDefs: parsed(name, sdl),
    url: `http://subgraphs.invalid/${name}`,
  })),
);
if (result.errors) {
  for (const error of result.errors) {
    console.error(`${error.extensions?.code ?? "INVALID_GRAPHQL"}: ${error.message}`);
  }
  process.exit(1);
}

function parsed(name, sdl) {
  try {
    return parse(sdl, { noLocation: true });
  } catch (error) {
    const { line, column } = error.locations?.[0] ?? {};
    console.error(`INVALID_GRAPHQL: [${name}] ${error.message} (${line}:${column})`);
    process.exit(1);
  }
}

console.log(JSON.stringify({ supergraph: result.supergraphSdl, api: result.publicSdl }));
