// What the images subgraph is presumed to answer: only where nothing but the ids is asked.
import assert from "node:assert/strict";
import { test } from "node:test";

import { parse } from "graphql";

import { predicted, sentOf } from "../../../federation/gateway/sent.ts";

const A = "a".repeat(64);
const B = "b".repeat(64);

function guess(text: string, variables: Record<string, unknown> = {}): unknown {
  return predicted(sentOf(parse(text)), variables);
}

test("ids by variable, as a literal, in lists and under other names are answered by themselves", () => {
  const one = { image: { __typename: "Image", id: A } };
  assert.deepEqual(guess("query ($id: ID!) { image(id: $id) { __typename id } }", { id: A }), one);
  assert.deepEqual(guess(`{ image(id: "${A}") { __typename id } }`), one);
  assert.deepEqual(guess(`{ x: images(ids: ["${A}", "${B}"]) { key: id } y: image(id: "${B}") { id } }`), {
    x: [{ key: A }, { key: B }],
    y: { id: B },
  });
  assert.deepEqual(guess("query ($ids: [ID!]!) { images(ids: $ids) { id } }", { ids: [] }), { images: [] });
});

test("what is more than ids, or no id, is waited for", () => {
  for (const text of [
    `{ image(id: "${A}") { id width } }`,
    `{ image(id: "${A}") { ... on Image { id } } }`,
    `{ image(id: "${A}") { id @include(if: true) } }`,
    `{ image(id: "${A.toUpperCase()}") { id } }`,
    `{ images(ids: ["${A}", "here"]) { id } }`,
    `{ image(id: "${A}") { id } models { name } }`,
    `mutation { image(id: "${A}") { id } }`,
    `query ($r: [_Any!]!) { _entities(representations: $r) { ... on Image { id } } }`,
  ]) {
    assert.equal(guess(text, { r: [] }), undefined, text);
  }
  assert.equal(guess("query ($id: ID!) { image(id: $id) { id } }", { id: 7 }), undefined);
});
