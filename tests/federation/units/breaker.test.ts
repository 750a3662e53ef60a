import assert from "node:assert/strict";
import { test } from "node:test";

import { Breaker } from "../../../federation/gateway/breaker.ts";

/** A breaker whose time is the test's, after so many failures in a row. */
function failing(times: number): { breaker: Breaker; wait: (ms: number) => void } {
  let now = 0;
  const breaker = new Breaker({ failures: 5, openMs: 2_000, now: () => now });
  for (let count = 0; count < times; count += 1) fail(breaker);
  return { breaker, wait: (ms) => (now += ms) };
}

function fail(breaker: Breaker): void {
  assert.ok(breaker.admit());
  breaker.failed();
}

test("the fifth failure in a row opens it, and no fewer do", () => {
  const { breaker } = failing(4);
  fail(breaker);
  assert.equal(breaker.admit(), false);
});

test("a success between failures begins the count again", () => {
  const { breaker } = failing(4);
  assert.ok(breaker.admit());
  breaker.succeeded();
  for (let count = 0; count < 4; count += 1) fail(breaker);
  assert.ok(breaker.admit());
});

test("when its time has passed, one at a time is let through", () => {
  const { breaker, wait } = failing(5);
  wait(1_999);
  assert.equal(breaker.admit(), false);
  wait(1);
  assert.equal(breaker.admit(), true);
  assert.equal(breaker.admit(), false);
});

test("a success closes it for all", () => {
  const { breaker, wait } = failing(5);
  wait(2_000);
  assert.ok(breaker.admit());
  breaker.succeeded();
  assert.deepEqual([breaker.admit(), breaker.admit()], [true, true]);
  fail(breaker);
  assert.ok(breaker.admit());
});

test("a failure keeps it open for as long again", () => {
  const { breaker, wait } = failing(5);
  wait(2_000);
  fail(breaker);
  wait(1_999);
  assert.equal(breaker.admit(), false);
  wait(1);
  assert.equal(breaker.admit(), true);
});

test("one that nobody waited for says nothing, and the next is let through", () => {
  const { breaker, wait } = failing(5);
  wait(2_000);
  assert.ok(breaker.admit());
  breaker.abandoned();
  assert.equal(breaker.admit(), true);
  assert.equal(breaker.admit(), false);
});
