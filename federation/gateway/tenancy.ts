// For whom a request is: said by Envoy, which has checked a key, and by nobody else. As
// services/serving/tenancy.py.
import { createHash, timingSafeEqual } from "node:crypto";

import { Refusal } from "./errors.ts";

export const TENANT_HEADER = "x-visionmesh-tenant";
export const TOKEN_HEADER = "x-visionmesh-token";
const LOCAL = "local";

const TENANT = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The tenant that a request is for. Without a token of ours it is `local`, whatever it says.
 * Throws Refusal when the token is not ours or the name cannot be a tenant's.
 */
export function tenantOf(
  token: string,
  shown: string | undefined,
  name: string | undefined,
): string {
  if (!token) return LOCAL;
  if (same(shown ?? "", token) && name && TENANT.test(name)) return name;
  throw new Refusal("UNAUTHENTICATED", "a valid key is needed", { status: 401 });
}

/** Compares hashes, whose length says nothing. */
function same(one: string, other: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
