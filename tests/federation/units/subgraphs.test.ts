import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { SubgraphLate, SubgraphLost, Subgraphs } from "../../../federation/gateway/subgraphs.ts";
import { type Place, answering, call, served } from "./serving.ts";

/** Two places that serve the same, and who asks them at a time that is the test's. */
async function two(t: TestContext) {
  const places: [Place, Place] = [
    await served(t, answering({ from: "one" })),
    await served(t, answering({ from: "other" })),
  ];
  let now = 0;
  const subgraphs = new Subgraphs(
    places.map(({ url }) => url),
    { now: () => now },
  );
  t.after(() => subgraphs.close());
  const ask = () => subgraphs.post("/nsfw", "{}", call(), 5_000);
  return { places, ask, wait: (ms: number) => void (now += ms) };
}

const asked = (places: readonly Place[]) => places.map((place) => place.asked);

test("places are asked in turns", async (t) => {
  const { places, ask } = await two(t);
  for (let count = 0; count < 6; count += 1) await ask();
  assert.deepEqual(asked(places), [3, 3]);
});

test("a place that is gone is passed over, and asked again later", async (t) => {
  const { places, ask, wait } = await two(t);
  await places[0].stop();
  for (let count = 0; count < 4; count += 1) {
    assert.deepEqual((await ask()).content, { from: "other" });
  }
  await places[0].start();
  for (let count = 0; count < 4; count += 1) await ask();
  assert.deepEqual(asked(places), [0, 8]); // it is left out for a second
  wait(1_000);
  for (let count = 0; count < 4; count += 1) await ask();
  assert.deepEqual(asked(places), [2, 10]);
});

test("without any place the subgraph is lost, and there again with the first one", async (t) => {
  const { places, ask } = await two(t);
  await Promise.all(places.map((place) => place.stop()));
  await assert.rejects(ask(), SubgraphLost);
  await places[1].start();
  assert.deepEqual((await ask()).content, { from: "other" });
});

test("a place that hangs is left out until it says that it lives", async (t) => {
  let hangs = true;
  let probes = 0;
  const answer = answering({ from: "one" });
  const one = await served(t, (request, response) => {
    if (request.url === "/healthz") {
      probes += 1;
      return answering({}, hangs ? 503 : 200)(request, response);
    }
    if (!hangs) answer(request, response);
  });
  const other = await served(t, answering({ from: "other" }));
  let now = 0;
  const options = { now: () => now, patienceMs: 50 };
  const subgraphs = new Subgraphs([one.url, other.url], options);
  t.after(() => subgraphs.close());
  const ask = async () => (await subgraphs.post("/nsfw", "{}", call(), 5_000)).content;
  const asks = async (count: number) => {
    for (let each = 0; each < count; each += 1) assert.deepEqual(await ask(), { from: "other" });
  };

  await assert.rejects(subgraphs.post("/nsfw", "{}", call(), 50), SubgraphLate);
  await asks(4);
  assert.deepEqual([one.asked, probes], [1, 0]); // for a second not even that is asked
  now += 1_000;
  while (probes === 0) await asks(1);
  await asks(4);
  assert.equal(one.asked - probes, 1);
  hangs = false;
  while (one.asked - probes === 1) {
    now += 1_000;
    await ask();
  }
  const turns = [await ask(), await ask()].map((each) => (each as { from: string }).from);
  assert.deepEqual(turns.sort(), ["one", "other"]);
});

test("a place that ends is left out until another one serves there", async (t) => {
  let ends = true;
  let probes = 0;
  const leaving = await served(t, (request, response) => {
    if (ends) response.setHeader("connection", "close");
    if (request.url !== "/healthz") return answering({ from: "leaving" })(request, response);
    probes += 1;
    answering({}, ends ? 503 : 200)(request, response);
  });
  const other = await served(t, answering({ from: "other" }));
  let now = 0;
  const subgraphs = new Subgraphs([leaving.url, other.url], { now: () => now });
  t.after(() => subgraphs.close());
  const ask = async () => (await subgraphs.post("/nsfw", "{}", call(), 5_000)).content;

  assert.deepEqual(await ask(), { from: "leaving" }); // what it answers is good
  for (let each = 0; each < 4; each += 1) assert.deepEqual(await ask(), { from: "other" });
  while (probes < 3) {
    now += 1_000;
    assert.deepEqual(await ask(), { from: "other" });
  }
  assert.equal(leaving.asked - probes, 1);
  ends = false;
  while (leaving.asked - probes === 1) {
    now += 1_000;
    await ask();
  }
});

test("a place that ends is asked when there is no other", async (t) => {
  const leaving = await served(t, (request, response) => {
    response.setHeader("connection", "close");
    answering({ from: "leaving" })(request, response);
  });
  const other = await served(t, answering({}));
  await other.stop();
  const subgraphs = new Subgraphs([leaving.url, other.url]);
  t.after(() => subgraphs.close());
  for (let each = 0; each < 4; each += 1) {
    const answer = await subgraphs.post("/nsfw", "{}", call(), 5_000);
    assert.deepEqual(answer.content, { from: "leaving" });
  }
});

test("who is late with a call of little time is not left out", async (t) => {
  const slow = await served(t, () => undefined);
  const other = await served(t, answering({}));
  const subgraphs = new Subgraphs([slow.url, other.url], { patienceMs: 100 });
  t.after(() => subgraphs.close());
  const ask = () => subgraphs.post("/nsfw", "{}", call(), 50);
  await assert.rejects(ask(), SubgraphLate);
  await ask();
  await assert.rejects(ask(), SubgraphLate);
});

test("an endless answer of another team is cut off", async (t) => {
  const endless = await served(t, (request, response) => {
    request.resume();
    const more = () => void (response.destroyed || response.write("x".repeat(1_000_000), more));
    more();
  });
  const subgraphs = new Subgraphs([endless.url], { isForeign: true });
  t.after(() => subgraphs.close());
  await assert.rejects(subgraphs.post("", "{}", call(), 60_000), SubgraphLost);
});

test("what was sent to a place that then hangs up is not sent to another one", async (t) => {
  const rude = await served(t, (request) => request.socket.destroy());
  const other = await served(t, answering({}));
  const subgraphs = new Subgraphs([rude.url, other.url]);
  t.after(() => subgraphs.close());
  await assert.rejects(subgraphs.post("/images", "{}", call(), 5_000), SubgraphLost);
  assert.deepEqual(asked([rude, other]), [1, 0]);
  for (let count = 0; count < 4; count += 1) await subgraphs.post("/images", "{}", call(), 5_000);
  assert.deepEqual(asked([rude, other]), [1, 4]);
});
