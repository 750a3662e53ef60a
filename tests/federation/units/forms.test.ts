import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal } from "../../../federation/gateway/errors.ts";
import { fromForm } from "../../../federation/gateway/forms.ts";

async function sent(parts: Record<string, string>): Promise<[string, Buffer]> {
  const form = new FormData();
  for (const [name, text] of Object.entries(parts)) form.set(name, text);
  const request = new Response(form);
  return [request.headers.get("content-type") ?? "", Buffer.from(await request.arrayBuffer())];
}

for (const name of ["operations", "map"]) {
  test(`a form's ${name} is no longer than a body of JSON`, async () => {
    const long = { operations: '{"query": "{ a }"}', map: "{}" };
    long[name as "map"] += " ".repeat(1_000_000);
    await assert.rejects(
      fromForm(...(await sent(long))),
      (error) =>
        error instanceof Refusal &&
        error.status === 413 &&
        error.field === name &&
        error.limit === "1000000",
    );
  });
}
