// Files on their way to a subgraph: https://github.com/jaydenseric/graphql-multipart-request-spec
import { FormData } from "undici";

interface Placed {
  place: string;
  file: File;
}

/** The body of a request: JSON, or a form when some variable is a file. */
export function bodyOf(
  query: string,
  variables: Readonly<Record<string, unknown>>,
): string | FormData {
  const files: Placed[] = [];
  const operations = JSON.stringify({ query, variables: without(variables, "variables", files) });
  if (files.length === 0) return operations;
  const form = new FormData();
  form.set("operations", operations);
  form.set("map", JSON.stringify(Object.fromEntries(files.map(({ place }, i) => [i, [place]]))));
  files.forEach(({ file }, index) => form.set(String(index), file, file.name));
  return form;
}

/** A copy of a value with null where files are, which are put into `files`. */
function without(value: unknown, place: string, files: Placed[]): unknown {
  if (value instanceof File) {
    files.push({ place, file: value });
    return null;
  }
  if (Array.isArray(value)) {
    return value.map((one, index) => without(one, `${place}.${index}`, files));
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [name, without(one, `${place}.${name}`, files)]),
    );
  }
  return value;
}
