// GraphiQL, from npm and from nowhere else: the whole page is one file.
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

import { renderGraphiQL } from "@graphql-yoga/render-graphiql";

import { etagOf, isNamed } from "./freshness.ts";
import type { Page } from "./server.ts";

// A quarter of a second for 9 MB; 9 takes four times as long for a twentieth less.
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } };

interface Made {
  plain: Buffer;
  br: Buffer;
  gzip: Buffer;
  etag: string;
}

/** A page that begins with examples. */
export function graphiqlPage(examples: Iterable<string>): Page {
  const defaultTabs = [...examples].map((query) => ({ query }));
  let making: Promise<Made> | undefined; // when somebody asks, and once
  return async ({ headers: asked }) => {
    making ??= make(defaultTabs);
    const made = await making;
    const coding = codingOf(asked["accept-encoding"] ?? "");
    const headers = {
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-cache",
      vary: "Accept, Accept-Encoding",
      // Each coding is a representation of its own.
      etag: etagOf(made.etag, coding),
      ...(coding !== "plain" && { "content-encoding": coding }),
    };
    if (isNamed(asked["if-none-match"] ?? "", headers.etag)) return { status: 304, body: "", headers };
    return { status: 200, body: made[coding], headers };
  };
}

async function make(defaultTabs: { query: string }[]): Promise<Made> {
  // With a query that is a tab's, that tab is the one to begin with.
  const [first] = defaultTabs;
  const options = { title: "visionmesh", endpoint: "/graphql", defaultTabs, ...first };
  const text = renderGraphiQL(options);
  const plain = Buffer.from(text);
  const [br, gzipped] = await Promise.all([
    promisify(brotliCompress)(plain, BROTLI),
    promisify(gzip)(plain),
  ]);
  return { plain, br, gzip: gzipped, etag: etagOf(text) };
}

/** The best of what an Accept-Encoding takes. */
function codingOf(accepted: string): "br" | "gzip" | "plain" {
  const taken = accepted
    .toLowerCase()
    .split(",")
    .map((one) => one.replaceAll(/\s/g, ""))
    .filter((one) => !/;q=0(?:\.0*)?$/.test(one))
    .map((one) => one.split(";", 1)[0]);
  if (taken.includes("br")) return "br";
  return taken.includes("gzip") ? "gzip" : "plain";
}
