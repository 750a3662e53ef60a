import assert from "node:assert/strict";
import { test } from "node:test";

import { Timings } from "../../../federation/gateway/timing.ts";

/** The header without the time altogether, which is the clock's. */
function told(timings: Timings): string {
  const [, entries, total] = /^(.*?)(?:, )?(total;dur=[0-9.]+)$/.exec(timings.total()) ?? [];
  assert.ok(total);
  return entries ?? "";
}

test("of several with one name, the longest time and the strongest reason are told", () => {
  const timings = new Timings();
  timings.hear("nsfw;dur=1.5;desc=stored, ocr;dur=7.0;desc=made");
  timings.hear("nsfw;dur=12.0;desc=joined, ocr;dur=2.0;desc=stored, moderation;dur=13.1");
  const all = "nsfw;dur=12.0;desc=joined, ocr;dur=7.0;desc=made, moderation;dur=13.1";
  assert.equal(told(timings), all);
});

test("what is not in the form is passed over", () => {
  const timings = new Timings();
  timings.hear('nsfw;dur=fast, x y, "; drop, ocr;dur=1.0;desc="made", logo;desc=made\r\nx: y');
  assert.equal(told(timings), "");
});

test("who waited for another's execution is told no times", () => {
  const execution = new Timings();
  execution.hear("nsfw;dur=12.0;desc=made");
  const mine = new Timings();
  mine.take(execution, false);
  assert.equal(told(mine), "nsfw;dur=12.0;desc=made");
  const joined = new Timings();
  joined.take(execution, true);
  assert.equal(told(joined), "nsfw;desc=joined");
});
