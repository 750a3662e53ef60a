// What the images subgraph will say of images that are there, before it has said so.
//
// Nearly every query begins with `image(id)` or `images(ids)`, of which the router needs the id alone
// to go on: the id is in the question. So it goes on at once, with the answer that an image gives that
// is the caller's, and the question itself goes out beside those that follow from it. Nothing is
// answered before that answer is there, and where it is another one all is asked again with it.
import { type FieldNode, Kind, type ValueNode, valueFromASTUntyped } from "graphql";

type Variables = Readonly<Record<string, unknown>>;

/** A field that gives images by their ids, and what is asked of each: key and field. */
export interface Standing {
  isList: boolean;
  ids: ValueNode;
  fields: readonly (readonly [key: string, name: string])[];
}

const ARGUMENTS: Readonly<Record<string, string>> = { image: "id", images: "ids" };
const IMAGE = "Image";
const DIGEST = /^[0-9a-f]{64}$/; // as it is written: another spelling is answered by this one

/** Nothing for a field that gives something else, or of which more is asked. */
export function standingOf(field: FieldNode): Standing | undefined {
  const [argument, ...others] = field.arguments ?? [];
  if (!argument || others.length || field.directives?.length) return undefined;
  if (argument.name.value !== ARGUMENTS[field.name.value]) return undefined;
  const fields: [string, string][] = [];
  for (const one of field.selectionSet?.selections ?? []) {
    if (one.kind !== Kind.FIELD || one.directives?.length) return undefined;
    if (one.name.value !== "id" && one.name.value !== "__typename") return undefined;
    fields.push([one.alias?.value ?? one.name.value, one.name.value]);
  }
  if (!fields.length) return undefined;
  return { isList: field.name.value === "images", ids: argument.value, fields };
}

/** What is answered when all of the images are there; nothing when some are no ids. */
export function predictionOf(standing: Standing, variables: Variables): unknown {
  const ids = valueFromASTUntyped(standing.ids, { ...variables });
  const image = (id: string) =>
    Object.fromEntries(standing.fields.map(([key, name]) => [key, name === "id" ? id : IMAGE]));
  if (!standing.isList) return isDigest(ids) ? image(ids) : undefined;
  return Array.isArray(ids) && ids.every(isDigest) ? ids.map(image) : undefined;
}

function isDigest(value: unknown): value is string {
  return typeof value === "string" && DIGEST.test(value);
}
