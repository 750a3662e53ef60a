// How big an operation is, before anything of it is executed.
import {
  type ASTNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  Kind,
  type NamedTypeNode,
  type OperationDefinitionNode,
  type SelectionSetNode,
  getArgumentValues,
  getNamedType,
  getLocation,
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  typeFromAST,
} from "graphql";

import contract from "./contract.json" with { type: "json" };
import { Refusal } from "./errors.ts";

// Guesses, all of them, well above what a person writes.
export const LIMITS = {
  characters: 100_000,
  tokens: 2_000,
  depth: 10,
  aliases: 50,
  ids: 128,
  cost: 600_000, // all that four models say of 128 images is 500,000
  /** Members of a list that is an argument, other than of ids: as the models take them. */
  listed: 100,
} as const;

const LISTED = 10; // members of a list whose length nobody can say
// What a field gives at most when it is not told `first`.
const { maxResults: MOST } = contract;
const ASKED = 20; // what a field of an entity costs more than one that is at hand

const KEYS: ReadonlySet<string> = new Set(["id", "__typename"]);

export interface Size {
  depth: number;
  aliases: number;
  cost: number;
  /** Image ids that are asked for. */
  ids: readonly string[];
}

type Part = Omit<Size, "ids">;
type Field = GraphQLField<unknown, unknown>;
type Variables = Readonly<Record<string, unknown>>;

/** Throws Refusal for an operation that is bigger than its limits, which names the first one. */
export function check(size: Size): void {
  const measured = { ...size, ids: size.ids.length };
  for (const name of ["depth", "aliases", "ids", "cost"] as const) {
    const value = measured[name];
    const most = LIMITS[name];
    if (value > most) throw exceeded(name, `${name}: ${shown(value)}, at most ${most}`, most);
  }
}

/** The router knows what it asks about by these names, and would take another field's value for theirs. */
function checkAlias({ alias, name }: FieldNode): void {
  if (!alias || alias.value === name.value || !KEYS.has(alias.value)) return;
  const message = `'${alias.value}' is no alias for '${name.value}': it is a name of its own`;
  throw new Refusal("BAD_REQUEST", message, { field: "query", locations: located(alias) });
}

function checkListed(argument: string, length: number): void {
  const most = LIMITS.listed;
  if (length > most) throw exceeded(argument, `${argument}: ${length} of them, at most ${most}`, most);
}

export function exceeded(field: string, message: string, limit: number): Refusal {
  return new Refusal("LIMIT_EXCEEDED", message, { field, limit: String(limit) });
}

function shown(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : `more than ${Number.MAX_SAFE_INTEGER}`;
}

/** Measures a valid operation with its coerced variables. What a directive leaves out counts. */
export function measure(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  variables: Variables,
): Size {
  const ids: string[] = [];
  const known = new Map<string, Part>(); // a fragment is looked at once, however often it is spread

  function selected(selection: SelectionSetNode | undefined, type: GraphQLNamedType): Part {
    const whole = { depth: 0, aliases: 0, cost: 0 };
    for (const one of selection?.selections ?? []) {
      let part: Part;
      if (one.kind === Kind.FIELD) part = field(one, type);
      else if (one.kind === Kind.FRAGMENT_SPREAD) part = spread(one.name.value, type);
      else part = selected(one.selectionSet, narrowed(one.typeCondition, type));
      whole.depth = Math.max(whole.depth, part.depth);
      whole.aliases += part.aliases;
      whole.cost += part.cost;
    }
    return whole;
  }

  function spread(name: string, type: GraphQLNamedType): Part {
    let part = known.get(name);
    if (!part) {
      const fragment = fragments.get(name);
      part = selected(fragment?.selectionSet, narrowed(fragment?.typeCondition, type));
      known.set(name, part);
    }
    return part;
  }

  function field(node: FieldNode, type: GraphQLNamedType): Part {
    const definition = fieldOf(type, node.name.value);
    const aliases = node.alias ? 1 : 0;
    checkAlias(node);
    // Introspection has no definition here, and costs no subgraph anything.
    if (!definition) return { depth: 1, aliases, cost: 1 };
    const values = getArgumentValues(definition, node, variables);
    for (const argument of definition.args) {
      const value = values[argument.name];
      if (getNamedType(argument.type).name === "ID") ids.push(...texts(value));
      else if (Array.isArray(value)) checkListed(argument.name, value.length);
    }
    const inner = selected(node.selectionSet, getNamedType(definition.type));
    return {
      depth: 1 + inner.depth,
      aliases: aliases + inner.aliases,
      cost: own(definition, type) + members(definition, values) * inner.cost,
    };
  }

  function narrowed(
    condition: NamedTypeNode | undefined,
    type: GraphQLNamedType,
  ): GraphQLNamedType {
    return (condition && typeFromAST(schema, condition)) || type;
  }

  const root = schema.getRootType(operation.operation);
  const whole = root ? selected(operation.selectionSet, root) : { depth: 0, aliases: 0, cost: 0 };
  return { ...whole, ids };
}

function located({ loc }: ASTNode): { line: number; column: number }[] {
  return loc ? [getLocation(loc.source, loc.start)] : [];
}

function fieldOf(type: GraphQLNamedType, name: string): Field | undefined {
  return isObjectType(type) || isInterfaceType(type) ? type.getFields()[name] : undefined;
}

/** What a field costs itself. Those of an entity that lead further ask a subgraph each. */
function own(field: Field, parent: GraphQLNamedType): number {
  const isEntity = fieldOf(parent, "id") !== undefined;
  return isEntity && isCompositeType(getNamedType(field.type)) ? ASKED : 1;
}

/** How many of what a field gives there are: as many as its arguments name or allow. */
function members(field: Field, values: Variables): number {
  const first = firstOf(field, values);
  if (isListType(getNullableType(field.type))) {
    const listed = Object.values(values).find(Array.isArray);
    return Math.max(1, listed?.length ?? first ?? LISTED);
  }
  // A field with `first` gives a page, whose list is one level below.
  return Math.max(1, (first ?? 0) / LISTED);
}

/** What `first` says, or leaves open; nothing for a field that has none. */
function firstOf(field: Field, values: Variables): number | undefined {
  if (!field.args.some(({ name }) => name === "first")) return undefined;
  return typeof values["first"] === "number" ? values["first"] : MOST;
}

function texts(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((one) => typeof one === "string");
  return typeof value === "string" ? [value] : [];
}
