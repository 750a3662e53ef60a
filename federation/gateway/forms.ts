// Requests with files: https://github.com/jaydenseric/graphql-multipart-request-spec
import contract from "./contract.json" with { type: "json" };
import { Refusal } from "./errors.ts";
import { type Asked, MAX_JSON_BYTES, askedOf, bad, parsed } from "./requests.ts";

export const MAX_FORM_BYTES = contract.maxUploadBytes;

const MAX_FILES = 4; // a mutation takes one

/** The request of a form, with files where `map` says. Throws Refusal. */
export async function fromForm(contentType: string, body: Buffer): Promise<Asked> {
  let form: FormData;
  try {
    const headers = { "content-type": contentType };
    form = await new Response(new Uint8Array(body), { headers }).formData();
  } catch {
    throw bad("the form is cut off or malformed", "body");
  }
  const operations = part(form, "operations");
  const places = Object.entries(part(form, "map"));
  if (places.length > MAX_FILES) throw bad(`map: at most ${MAX_FILES} files`, "map", MAX_FILES);
  for (const [name, paths] of places) {
    const file = form.get(name);
    if (!(file instanceof File)) throw bad(`map: there is no file '${name.slice(0, 50)}'`, "map");
    if (!Array.isArray(paths)) throw bad("map gives a list of places for each file", "map");
    for (const path of paths) put(operations, String(path), file);
  }
  return askedOf(operations);
}

function part(form: FormData, name: string): Record<string, unknown> {
  const text = form.get(name);
  // A form may be long for its files; what is JSON in it is parsed, and some of it kept.
  if (typeof text === "string" && Buffer.byteLength(text) > MAX_JSON_BYTES) {
    throw new Refusal("BAD_REQUEST", `${name} has more than ${MAX_JSON_BYTES} bytes`, {
      status: 413,
      field: name,
      limit: String(MAX_JSON_BYTES),
    });
  }
  const content = typeof text === "string" ? parsed(text, name) : undefined;
  if (content && typeof content === "object" && !Array.isArray(content)) {
    return content as Record<string, unknown>;
  }
  throw bad(`${name} is a JSON object, and a part of the form`, name);
}

/** Put a file where a path like `variables.file` leads, to what is null there. */
function put(operations: Record<string, unknown>, path: string, file: File): void {
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  let place: unknown = keys[0] === "variables" ? operations : undefined;
  for (const key of keys) place = owned(place, key);
  if (owned(place, last) !== null) {
    const shown = path.slice(0, 100);
    throw bad(`map names a place that is not there, or not null: '${shown}'`, "map");
  }
  (place as Record<string, unknown>)[last] = file;
}

/** A member of an object or a list; undefined where there is none. */
function owned(place: unknown, key: string): unknown {
  if (!place || typeof place !== "object" || !Object.hasOwn(place, key)) return undefined;
  return (place as Record<string, unknown>)[key];
}
