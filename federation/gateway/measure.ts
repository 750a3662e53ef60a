// How big an operation is, before anything of it is executed.
import {
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
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  typeFromAST,
} from "graphql";

import { Refusal } from "./errors.ts";

// Guesses, all of them, well above what a person writes.
export const LIMITS = {
  characters: 100_000,
  tokens: 2_000,
  depth: 10,
  aliases: 50,
  ids: 128,
  cost: 250_000,
} as const;

const LISTED = 10; // members of a list whose length nobody says
const ASKED = 20; // what a field of an entity costs more than one that is at hand

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
    // Introspection has no definition here, and costs no subgraph anything.
    if (!definition) return { depth: 1, aliases, cost: 1 };
    const values = getArgumentValues(definition, node, variables);
    for (const argument of definition.args) {
      if (getNamedType(argument.type).name === "ID") ids.push(...texts(values[argument.name]));
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
  if (isListType(getNullableType(field.type))) {
    const listed = Object.values(values).find(Array.isArray);
    return Math.max(1, listed?.length ?? first(values) ?? LISTED);
  }
  // A field with `first` gives a page, whose list is one level below.
  return Math.max(1, (first(values) ?? 0) / LISTED);
}

function first(values: Variables): number | undefined {
  return typeof values["first"] === "number" ? values["first"] : undefined;
}

function texts(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((one) => typeof one === "string");
  return typeof value === "string" ? [value] : [];
}
