// What a client is told when something is refused or fails: a code, and nothing internal.
//
// Codes of the domain (services/errors.py) come from subgraphs and are passed on with their
// message, `field` and `limit`; the gateway's own are below; anything else is INTERNAL.
import type { GraphQLError } from "graphql";

import contract from "./contract.json" with { type: "json" };

// Each answer's status is in brackets.
export type OwnCode =
  | "GRAPHQL_PARSE_FAILED" // [400] no GraphQL
  | "GRAPHQL_VALIDATION_FAILED" // [400] not of this schema
  | "BAD_USER_INPUT" // [400] a variable's value
  | "BAD_REQUEST" // [400, 405, 413, 415] no GraphQL request at all
  | "CSRF_PREVENTED" // [403] might come from another site's page
  | "LIMIT_EXCEEDED" // [400] deeper, longer or dearer than documents may be
  | "PERSISTED_QUERY_NOT_FOUND" // [200] send it with its text; Apollo's protocol
  | "QUERY_NOT_IN_SAFELIST" // [403] only known documents run
  | "INVALID_ARGUMENT" // [400]
  | "UNAUTHENTICATED" // [401]
  | "OVERLOADED" // [503]
  | "INTERNAL"; // [500]

const DOMAIN: ReadonlySet<string> = new Set(contract.codes);

interface More {
  status?: number;
  field?: string;
  limit?: string;
  locations?: GraphQLError["locations"];
}

/** A request that is not executed, and why. */
export class Refusal extends Error {
  readonly code: OwnCode;
  readonly status: number;
  readonly field: string | undefined;
  readonly limit: string | undefined;
  readonly locations: GraphQLError["locations"];

  constructor(code: OwnCode, message: string, more: More = {}) {
    super(message);
    this.code = code;
    this.status = more.status ?? 400;
    this.field = more.field;
    this.limit = more.limit;
    this.locations = more.locations;
  }
}

/** Several at once: a document may be wrong in many places. */
export class Refusals extends Error {
  readonly all: readonly Refusal[];

  constructor(all: readonly Refusal[]) {
    super(all[0]?.message);
    this.all = all;
  }
}

/** What an error of an execution is to everybody who shares it. */
export interface SharedError {
  message: string;
  locations?: readonly { line: number; column: number }[];
  path?: readonly (string | number)[];
  extensions: { code: string; field?: string; limit?: string };
}

/** As one client sees it. */
export interface TellableError extends SharedError {
  extensions: SharedError["extensions"] & { traceId: string };
}

/** A refusal as clients see it. */
export function told(refusal: Refusal, traceId: string): TellableError {
  return {
    message: refusal.message,
    ...(refusal.locations && { locations: refusal.locations }),
    extensions: {
      code: refusal.code,
      ...(refusal.field && { field: refusal.field }),
      ...(refusal.limit && { limit: refusal.limit }),
      traceId,
    },
  };
}

/** A shared error with the trace of one who is told it. */
export function traced(error: SharedError, traceId: string): TellableError {
  return { ...error, extensions: { ...error.extensions, traceId } };
}

/**
 * An error of an execution as clients see it. `unexpected` takes those that are masked.
 *
 * Only what has a code of the domain keeps its message: by then it was written for clients, by a
 * subgraph or by this gateway.
 */
export function masked(
  error: GraphQLError,
  unexpected: (error: GraphQLError) => void,
): SharedError {
  const { code, field, limit } = error.extensions ?? {};
  const place = error.path ? { path: error.path } : {};
  if (typeof code !== "string" || code === "INTERNAL" || !DOMAIN.has(code)) {
    unexpected(error);
    return { message: "internal error", ...place, extensions: { code: "INTERNAL" } };
  }
  return {
    message: error.message,
    ...place,
    extensions: {
      code,
      ...(typeof field === "string" && { field }),
      ...(typeof limit === "string" && { limit }),
    },
  };
}
