import assert from "node:assert/strict";
import { test } from "node:test";

import { buildSchema } from "graphql";

import { Documents, hashOf } from "../../../federation/gateway/documents.ts";
import { Refusal } from "../../../federation/gateway/errors.ts";
import { Operations } from "../../../federation/gateway/operations.ts";
import { Recent } from "../../../federation/gateway/recent.ts";

test("what was used least lately goes first, by number and by characters", () => {
  const recent = new Recent<string>(3, 10);
  recent.put("a", "A", 1);
  recent.put("b", "B", 1);
  recent.put("c", "C", 1);
  recent.get("a");
  recent.put("d", "D", 1);
  assert.deepEqual(["a", "b", "c", "d"].map((key) => recent.get(key)), ["A", undefined, "C", "D"]);
  recent.put("long", "L", 9);
  assert.deepEqual(["a", "c", "d"].map((key) => recent.get(key)), [undefined, undefined, "D"]);
  assert.equal(recent.chars, 10);
  recent.put("longer", "L", 11);
  assert.equal(recent.get("longer"), undefined);
  assert.equal(recent.chars, 0);
});

test("no tenant learns which documents another one sent", () => {
  const documents = new Documents(new Map([["known", "{ known }"]]));
  documents.register("acme", hashOf("{ a }"), "{ a }");
  assert.equal(documents.find("acme", hashOf("{ a }")), "{ a }");
  assert.equal(documents.find("beta", hashOf("{ a }")), undefined);
  assert.equal(documents.find("beta", "known"), "{ known }");
});

test("a tenant's many documents drop its own, and no other tenant's", () => {
  const documents = new Documents(new Map());
  documents.register("acme", "first", "{ a }");
  for (let count = 0; count < 1_001; count += 1) documents.register("beta", `${count}`, "{ b }");
  assert.equal(documents.find("beta", "0"), undefined);
  assert.equal(documents.find("beta", "1000"), "{ b }");
  assert.equal(documents.find("acme", "first"), "{ a }");
});

test("all tenants together keep no more than sixteen million characters", () => {
  const documents = new Documents(new Map());
  const text = "x".repeat(1_000_000);
  for (let count = 0; count < 20; count += 1) documents.register(`t${count}`, "hash", text);
  const kept = Array.from({ length: 20 }, (_, count) => documents.find(`t${count}`, "hash"));
  assert.deepEqual(
    kept.map((found) => found !== undefined),
    [...Array<boolean>(4).fill(false), ...Array<boolean>(16).fill(true)],
  );
});

test("a long document is refused before it is parsed, whatever it is long of", () => {
  const schema = buildSchema("type Query { a: Int }");
  const operations = new Operations(false);
  const comment = (length: number) => `{ a } #${"x".repeat(length - 7)}`;
  assert.ok(operations.check(schema, comment(100_000), undefined, {}).isQuery);
  assert.throws(
    () => operations.check(schema, comment(100_001), undefined, {}),
    (error) =>
      error instanceof Refusal &&
      error.code === "LIMIT_EXCEEDED" &&
      error.field === "query" &&
      error.limit === "100000",
  );
});

test("a variable that no operation declares is left out", () => {
  const schema = buildSchema("type Query { a(b: Int): Int }");
  const asked = { b: 1, c: 2 };
  const checked = new Operations(false).check(schema, "query ($b: Int) { a(b: $b) }", "", asked);
  assert.deepEqual(checked.variables, { b: 1 });
});
