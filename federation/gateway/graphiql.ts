// GraphiQL, from npm and from nowhere else: the whole page is one file.
import { renderGraphiQL } from "@graphql-yoga/render-graphiql";

import type { Page } from "./server.ts";

/** A page that begins with examples. */
export function graphiqlPage(examples: Iterable<string>): Page {
  const defaultTabs = [...examples].map((query) => ({ query }));
  let body: string | undefined; // 9 MB, made when somebody asks
  return () => {
    // With a query that is a tab's, that tab is the one to begin with.
    const [first] = defaultTabs;
    body ??= renderGraphiQL({ title: "visionmesh", endpoint: "/graphql", defaultTabs, ...first });
    const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" };
    return { status: 200, body, headers };
  };
}
