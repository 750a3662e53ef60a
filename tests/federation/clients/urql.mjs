// What urql makes of an endpoint: one request as JSON in, its answers as JSON out.
//
//     {"url": …, "document": …, "variables": {…}, "headers": {…}, "known": true, "times": 1}
//       →  {"answers": [{"data": …, "errors": […]}], "requests": [{"method": …, "url": …, …}]}
//
// urql asks by the document's hash alone, over GET. With `known` the server must know the document,
// as one of a manifest; without, urql sends the text as well when the server does not.
import { readFileSync } from "node:fs";

import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";

const { url, document, variables, headers, known, times } = JSON.parse(readFileSync(0, "utf8"));
const requests = [];

async function observed(input, init) {
  const response = await fetch(input, init);
  requests.push({
    method: init.method,
    url: String(input),
    status: response.status,
    headers: Object.fromEntries(response.headers),
  });
  return response;
}

const client = new Client({
  url,
  fetch: observed,
  fetchOptions: { headers },
  exchanges: [
    persistedExchange({ preferGetForPersistedQueries: true, enforcePersistedQueries: known }),
    fetchExchange,
  ],
});

const answers = [];
for (let count = 0; count < times; count += 1) {
  const { data, error } = await client.query(document, variables).toPromise();
  const errors = error?.graphQLErrors.map(({ message, path, extensions }) => ({
    message,
    path,
    extensions,
  }));
  const network = error?.networkError && String(error.networkError);
  answers.push({ data, ...(errors?.length && { errors }), ...(network && { network }) });
}
console.log(JSON.stringify({ answers, requests }));
