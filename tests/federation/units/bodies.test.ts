import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { test } from "node:test";

import { Bodies } from "../../../federation/gateway/bodies.ts";
import { Refusal } from "../../../federation/gateway/errors.ts";
import { served } from "./serving.ts";

test("bodies share a budget, and give it back when they were used", async (t) => {
  const bodies = new Bodies(100);
  const used = Promise.withResolvers<void>();
  const reading = Promise.withResolvers<void>();
  const place = await served(t, async (incoming, response) => {
    let said: string;
    try {
      said = await bodies.read(incoming, 80, async (body) => {
        reading.resolve();
        if (incoming.url === "/slow") await used.promise;
        return `read ${body.length}`;
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      said = `${error.status} ${error.code}`;
    }
    response.setHeader("connection", "close");
    response.end(said);
  });
  const send = async (path: string, bytes: number) => {
    const sent = request(`${place.url}${path}`, { method: "POST" });
    sent.end("x".repeat(bytes));
    const [answer] = await once(sent, "response");
    let text = "";
    for await (const chunk of answer) text += String(chunk);
    return text;
  };

  const slow = send("/slow", 60);
  await reading.promise;
  assert.equal(await send("/", 60), "503 OVERLOADED");
  assert.equal(await send("/", 40), "read 40");
  assert.equal(await send("/", 81), "413 BAD_REQUEST");
  used.resolve();
  assert.equal(await slow, "read 60");
  assert.equal(await send("/", 60), "read 60");
});
