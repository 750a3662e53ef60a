// The HTTP server: health, the endpoint, and an end that lets requests finish.
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import type { Answer, Endpoint } from "./endpoint.ts";

const PATH = "/graphql";
const MAX_HEADER_BYTES = 40_000; // Envoy lets 32 KiB through
const KEEPALIVE_MS = 75_000; // longer than Envoy keeps its end of an idle connection
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 65_000; // to send one; Envoy gives clients a minute

/** A page for people. */
export type Page = (request: IncomingMessage) => Promise<Answer>;

export class GatewayServer {
  readonly #endpoint: Endpoint;
  readonly #ready: () => Promise<boolean>;
  readonly #page: Page | undefined;
  readonly #server: Server;
  #isLeaving = false;

  constructor(endpoint: Endpoint, ready: () => Promise<boolean>, page: Page | undefined) {
    this.#endpoint = endpoint;
    this.#ready = ready;
    this.#page = page;
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        keepAliveTimeout: KEEPALIVE_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
      },
      (request, response) => void this.#serve(request, response),
    );
  }

  /** The port that is listened at; 0 takes any free one. Rejects when it is taken. */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  /** Say that nothing new should come, and serve on. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** Take nothing new, and let what is in flight finish for so long. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await closed;
    clearTimeout(timer);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController();
    response.on("close", () => {
      // Whoever has the whole answer has not left; an abort makes an exception, and its stack.
      if (!response.writableFinished) left.abort();
    });
    const answer = await this.#answer(request, left.signal);
    if (response.destroyed) return;
    // What is refused before all of it was read would be taken for the next request.
    if (!request.complete || this.#isLeaving) response.setHeader("connection", "close");
    const length = answer.status === 304 ? {} : { "content-length": Buffer.byteLength(answer.body) };
    response.writeHead(answer.status, { ...answer.headers, ...length });
    response.end(request.method === "HEAD" ? undefined : answer.body);
  }

  async #answer(request: IncomingMessage, left: AbortSignal): Promise<Answer> {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path === "/healthz") return this.#isLeaving ? status(503, "ending") : status(200, "ok");
    if (path === "/readyz") {
      return !this.#isLeaving && (await this.#ready()) ? status(200, "ready") : status(503, "not ready");
    }
    if (path !== PATH) return status(404, "there is nothing here");
    if (this.#page && request.url === PATH && request.method === "GET" && wantsPage(request)) {
      return this.#page(request);
    }
    return this.#endpoint.answer(request, left);
  }
}

function wantsPage(request: IncomingMessage): boolean {
  return (request.headers.accept ?? "").includes("text/html");
}

function status(code: number, word: string): Answer {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  return { status: code, body: JSON.stringify({ status: word }), headers };
}
