// What the gateway's metrics cost: microseconds a request, printed as JSON. See metrics.py.
import { buildSchema, parse, type OperationDefinitionNode } from "graphql";

import { Account, Metrics, clock } from "../federation/gateway/metrics.ts";
import { usedBy } from "../federation/gateway/usage.ts";

const COUNT = 100_000;
const ROUNDS = 9;

const schema = buildSchema(
  "type Query { image(id: ID!): Image } type Image { a: Int b: Int c: Int d: Int nsfw: Nsfw } type Nsfw { score: Float }",
);
const document = parse('query Verdict { image(id: "1") { a b c d nsfw { score } } }');
const used = usedBy(schema, document.definitions[0] as OperationDefinitionNode, new Map());
const metrics = new Metrics(["Verdict"]);

/** CPU of this thread, in microseconds. */
function cpu(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

function median(one: () => void): number {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const began = cpu();
    for (let count = 0; count < COUNT; count += 1) one();
    rounds.push((cpu() - began) / COUNT);
  }
  return rounds.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN;
}

const operation = median(() => {
  const seconds = clock();
  const account = new Account();
  account.operation = { name: "Verdict", isQuery: true, used };
  metrics.ended("POST", 200, seconds(), account);
});
const subgraph = median(() => metrics.asked("nsfw", "ok", clock()()));
const fresh = median(() => usedBy(schema, document.definitions[0] as OperationDefinitionNode, new Map()));
process.stdout.write(JSON.stringify({ operation, subgraph, fresh }));
