// GraphQL requests out of HTTP: https://graphql.github.io/graphql-over-http/draft/, with persisted
// documents as Apollo Client and urql send them.
import type { IncomingHttpHeaders } from "node:http";

import contract from "./contract.json" with { type: "json" };
import { hashIn } from "./documents.ts";
import { Refusal } from "./errors.ts";
import { TIMEOUT_HEADER } from "./subgraphs.ts";

export const JSON_TYPE = "application/json";
export const FORM_TYPE = "multipart/form-data";

export const MAX_JSON_BYTES = 1_000_000; // 128 ids and a document no person wrote come to a tenth

const MAX_NESTING = 64; // levels of variables, of which a person writes some few (a guess)

const PARAMETERS = ["documentId", "extensions", "operationName", "query", "release", "variables"];
// One of them makes a browser ask first, which nobody answers for pages of other sites.
const PREFLIGHT_HEADERS = [
  "apollo-require-preflight",
  "graphql-require-preflight",
  "x-apollo-operation-name",
];
const RELEASE = /^[0-9a-f]{16}$/;

/** What a request asks: a document by its text, its hash, or both. */
export interface Asked {
  text: string | undefined;
  hash: string | undefined;
  operationName: string | undefined;
  variables: Readonly<Record<string, unknown>>;
}

export interface Target {
  path: string;
  /** Parameters as they are written, by name. */
  raw: ReadonlyMap<string, string>;
  /** The release that the URL names, or nothing. */
  release: string;
}

/** A URL's parts. Throws Refusal for parameters that are not known, or there twice. */
export function targetOf(url: string): Target {
  const end = url.includes("?") ? url.indexOf("?") : url.length;
  const path = url.slice(0, end);
  const query = url.slice(end + 1); // another `?` is a part of it
  const raw = new Map<string, string>();
  for (const pair of query.split("&").filter(Boolean)) {
    const name = pair.split("=", 1)[0] ?? "";
    const field = name.slice(0, 50);
    if (!PARAMETERS.includes(name)) {
      throw bad(`there is no parameter '${field}'; there are: ${PARAMETERS.join(", ")}`, field);
    }
    if (raw.has(name)) throw bad(`${name} is there twice`, name);
    raw.set(name, pair.slice(name.length + 1));
  }
  return { path, raw, release: releaseOf(decoded(raw, "release")) };
}

/** The one way to write a URL for the same answer of a release. */
export function pinnedUrl(target: Target, release: string): string {
  const parameters = new Map(target.raw).set("release", release);
  const pairs = [...parameters].map(([name, value]) => `${name}=${value}`).sort();
  return `${target.path}?${pairs.join("&")}`;
}

/** Throws Refusal for what is no release's name. */
export function releaseOf(name: string | undefined): string {
  if (!name || RELEASE.test(name)) return name ?? "";
  throw new Refusal("INVALID_ARGUMENT", "a release's name is 16 lower-case hexadecimal digits", {
    field: "release",
  });
}

export function fromUrl(target: Target): Asked {
  const json = (name: string) => {
    const text = decoded(target.raw, name);
    return text ? parsed(text, name) : undefined;
  };
  return askedOf({
    query: decoded(target.raw, "query"),
    documentId: decoded(target.raw, "documentId"),
    operationName: decoded(target.raw, "operationName"),
    variables: json("variables"),
    extensions: json("extensions"),
  });
}

export function fromJson(body: Buffer): Asked {
  const content = parsed(body.toString("utf8"), "body");
  if (Array.isArray(content)) throw bad("batches are not taken: send requests one by one", "body");
  return askedOf(content);
}

/** Throws Refusal for what a page of another site could make a browser send. */
export function checkOrigin(method: string, mediaType: string, headers: IncomingHttpHeaders): void {
  if (PREFLIGHT_HEADERS.some((name) => headers[name])) return;
  const isForeign =
    headers["sec-fetch-site"] === "cross-site" && headers["sec-fetch-mode"] !== "cors";
  if (mediaType === FORM_TYPE || (method !== "POST" && isForeign)) {
    throw new Refusal("CSRF_PREVENTED", `send the header ${PREFLIGHT_HEADERS[0]}: true`, {
      status: 403,
    });
  }
}

/** The request that a JSON value is. Throws Refusal. */
export function askedOf(content: unknown): Asked {
  if (!content || typeof content !== "object" || Array.isArray(content)) {
    throw bad("a request is a JSON object", "body");
  }
  const { query, documentId, operationName, variables, extensions } = content as Record<
    string,
    unknown
  >;
  const text = optional(query, "query");
  const hash = hashAsked(documentId, extensions);
  if (!text && !hash) throw bad("query or documentId is needed", "query");
  if (variables != null && (typeof variables !== "object" || Array.isArray(variables))) {
    throw bad("variables is a JSON object", "variables");
  }
  if (isDeeper(variables, MAX_NESTING)) {
    throw bad(`variables: at most ${MAX_NESTING} levels`, "variables", MAX_NESTING);
  }
  return {
    text,
    hash,
    operationName: optional(operationName, "operationName"),
    variables: (variables ?? {}) as Record<string, unknown>,
  };
}

export function parsed(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad(`${name} is not JSON`, name);
  }
}

export function bad(message: string, field: string, limit?: number): Refusal {
  return new Refusal("BAD_REQUEST", message, {
    field,
    ...(limit && { limit: String(limit) }),
  });
}

/** Of `documentId`, or of `{"persistedQuery": {"version": 1, "sha256Hash": …}}`. */
function hashAsked(documentId: unknown, extensions: unknown): string | undefined {
  const persisted = (extensions as { persistedQuery?: { sha256Hash?: unknown } } | null | undefined)
    ?.persistedQuery;
  const sent = documentId ?? persisted?.sha256Hash;
  if (sent === undefined || sent === null) return undefined;
  const hash = typeof sent === "string" ? hashIn(sent) : undefined;
  if (hash) return hash;
  throw bad("a document's id is the SHA-256 of its text in lower-case hexadecimal", "documentId");
}

function isDeeper(value: unknown, levels: number): boolean {
  if (!value || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((one) => isDeeper(one, levels - 1));
}

function optional(value: unknown, name: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return value;
  throw bad(`${name} is a text`, name);
}

function decoded(raw: ReadonlyMap<string, string>, name: string): string | undefined {
  const value = raw.get(name);
  if (value === undefined) return undefined;
  try {
    return decodeURIComponent(value.replaceAll("+", " "));
  } catch {
    throw bad(`${name} is not encoded as URLs are`, name);
  }
}

/** Milliseconds that a request may take. Throws Refusal. */
export function timeoutMs(asked: string | undefined): number {
  const most = contract.defaultTimeoutMs;
  if (asked === undefined) return most;
  const milliseconds = /^\d{1,9}$/.test(asked) ? Number(asked) : 0;
  if (milliseconds > 0 && milliseconds <= most) return milliseconds;
  const message = `${TIMEOUT_HEADER} is a whole number of milliseconds from 1 to ${most}`;
  throw new Refusal("INVALID_ARGUMENT", message, { field: TIMEOUT_HEADER, limit: `${most} ms` });
}

/** A method's name; there may be as many as clients think of. */
export function methodOf(method: string): string {
  return ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"].includes(method)
    ? method
    : "_OTHER";
}

export function text(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(",") : header;
}
