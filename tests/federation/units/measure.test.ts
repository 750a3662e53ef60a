import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { buildSchema } from "graphql";

import { Refusal } from "../../../federation/gateway/errors.ts";
import { Operations } from "../../../federation/gateway/operations.ts";

const API = new URL("../../../federation/supergraph/api.graphql", import.meta.url);
const SCHEMA = buildSchema(readFileSync(API, "utf8"));

/** What the graph says to a query about one image, with these variables. */
function asked(selection: string, types = "", variables: Record<string, unknown> = {}): unknown {
  const text = `query (${types} $id: ID = "a") { image(id: $id) { ${selection} } }`;
  try {
    return new Operations(false).check(SCHEMA, text, undefined, variables);
  } catch (error) {
    return error;
  }
}

function refused(error: unknown): readonly [string, string | undefined, string | undefined] {
  assert.ok(error instanceof Refusal, String(error));
  return [error.code, error.field, error.limit];
}

const objects = (aliases: number, args: string) =>
  Array.from(
    { length: aliases },
    (_, index) => `a${index}: detection${args} { detections { box { x y width height } } }`,
  ).join(" ");

test("objects without a first are as dear as the hundred that there may be", () => {
  const cost = (args: string) => {
    const ids = Array.from({ length: 50 }, (_, index) => `"${index}"`).join(" ");
    const text = `{ images(ids: [${ids}]) { ${objects(25, args)} } }`;
    return new Operations(false).check(SCHEMA, text, undefined, {});
  };
  assert.ok(cost("(first: 10)").isQuery);
  assert.deepEqual(refused(caught(() => cost("(first: 100)"))), ["LIMIT_EXCEEDED", "cost", "600000"]);
  assert.deepEqual(refused(caught(() => cost(""))), ["LIMIT_EXCEEDED", "cost", "600000"]);
  assert.deepEqual(refused(caught(() => cost("(first: null)"))), [
    "LIMIT_EXCEEDED",
    "cost",
    "600000",
  ]);
});

test("a list that is an argument has at most a hundred members", () => {
  const list = (length: number) => Array.from({ length }, () => "a");
  const literal = (length: number) => `detection(labels: ${JSON.stringify(list(length))}) { model { name } }`;
  const variable = "logo(brands: $brands) { model { name } }";
  const types = "$brands: [String!]";
  assert.ok(!(asked(literal(100)) instanceof Error));
  assert.ok(!(asked(variable, types, { brands: list(100) }) instanceof Error));
  assert.deepEqual(refused(asked(literal(101))), ["LIMIT_EXCEEDED", "labels", "100"]);
  assert.deepEqual(refused(asked(variable, types, { brands: list(101) })), [
    "LIMIT_EXCEEDED",
    "brands",
    "100",
  ]);
});

test("no field takes the name by which the router knows an image", () => {
  for (const selection of ["id: width", "__typename: width", "... on Image { id: height }"]) {
    assert.deepEqual(refused(asked(selection)), ["BAD_REQUEST", "query", undefined]);
  }
  for (const selection of ["id: id", "key: id", "kind: __typename", "__typename: __typename"]) {
    assert.ok(!(asked(selection) instanceof Error));
  }
});

function caught(use: () => unknown): unknown {
  try {
    return use();
  } catch (error) {
    return error;
  }
}
