// GraphiQL, from npm and from nowhere else: the whole page is one file.
import { renderGraphiQL } from "@graphql-yoga/render-graphiql";

import type { Page } from "./server.ts";

/** A page that begins with examples. */
export function graphiqlPage(examples: Iterable<string>): Page {
  const defaultTabs = [...examples].map((query) => ({ query }));
  let body: string | undefined; // 9 MB, made when somebody asks
  return () => {
    body ??= renderGraphiQL({ title: "visionmesh", endpoint: "/graphql", defaultTabs });
    const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
    return { status: 200, body, headers };
  };
}
