import assert from "node:assert/strict";
import { test } from "node:test";

import { OperationTypeNode, parse } from "graphql";

import { Breaker } from "../../../federation/gateway/breaker.ts";
import { Executions } from "../../../federation/gateway/execution.ts";
import { Metrics } from "../../../federation/gateway/metrics.ts";
import { Subgraphs } from "../../../federation/gateway/subgraphs.ts";
import { SILENT, answering, call, served } from "./serving.ts";

const ENTITIES = parse(
  "query ($representations: [_Any!]!) { " +
    "_entities(representations: $representations) { ... on Image { nsfw { score } } } }",
);

test("a subgraph that failed five times is not asked, until one answer is good", async (t) => {
  const found = { data: { _entities: [{ nsfw: { score: 0.5 } }] } };
  let answer = answering({}, 500);
  const subgraph = await served(t, (request, response) => answer(request, response));
  const subgraphs = new Subgraphs([subgraph.url]);
  t.after(() => subgraphs.close());
  let now = 0;
  const executions = new Executions(
    subgraphs,
    new Map(),
    new Map([["*", 5_000]]),
    SILENT,
    new Metrics(),
    () => new Breaker({ now: () => now }),
  );
  const ask = (name = "NSFW") =>
    executions.execute(
      name,
      {
        document: ENTITIES,
        operationType: OperationTypeNode.QUERY,
        variables: { representations: [{ __typename: "Image", id: "a" }] },
      },
      call(),
    );

  for (let count = 0; count < 8; count += 1) {
    const { data, errors } = await ask();
    assert.deepEqual(data, { _entities: [null] });
    assert.deepEqual(errors?.[0]?.path, ["_entities", 0, "nsfw"]);
    assert.equal(errors?.[0]?.extensions["code"], "MODEL_UNAVAILABLE");
  }
  assert.equal(subgraph.asked, 5);

  answer = answering(found);
  assert.deepEqual(await ask("OCR"), found); // each subgraph has its own
  assert.equal(subgraph.asked, 6);
  assert.deepEqual((await ask()).data, { _entities: [null] });
  assert.equal(subgraph.asked, 6);

  now += 2_000;
  const trial = ask();
  assert.deepEqual((await ask()).data, { _entities: [null] }); // one at a time
  assert.deepEqual(await trial, found);
  assert.deepEqual(await Promise.all([ask(), ask()]), [found, found]);
  assert.equal(subgraph.asked, 9);
});
