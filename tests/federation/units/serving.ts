// Real servers that stand for subgraphs, and what is needed to ask them.
import { type RequestListener, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

import { Call } from "../../../federation/gateway/call.ts";
import type { Log } from "../../../federation/gateway/log.ts";
import { UNRECORDED } from "../../../federation/gateway/tracing.ts";

export const SILENT: Log = { debug() {}, info() {}, warning() {}, error() {} };

export interface Place {
  url: string;
  /** Requests that came. */
  asked: number;
  /** Listen no more, and end all connections. */
  stop: () => Promise<void>;
  /** Listen again at the same port. */
  start: () => Promise<void>;
}

/** A server that is gone after the test. */
export async function served(t: TestContext, answer: RequestListener): Promise<Place> {
  const server = createServer((request, response) => {
    place.asked += 1;
    answer(request, response);
  });
  const place = {
    url: `http://127.0.0.1:${await listening(server, 0)}`,
    asked: 0,
    stop: () => closed(server),
    start: async () => void (await listening(server, Number(new URL(place.url).port))),
  };
  t.after(place.stop);
  return place;
}

export function answering(content: unknown, status = 200): RequestListener {
  return (request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(content));
  };
}

/** A call of nobody in particular, that has ten seconds. */
export function call(): Call {
  return new Call({
    tenant: "local",
    token: "",
    span: UNRECORDED.begin(undefined, "test", {}),
    release: "",
    deadline: performance.now() + 10_000,
    signal: new AbortController().signal,
  });
}

function listening(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
