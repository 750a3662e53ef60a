// Documents on their way to be executed: parsed and validated once, measured for each request.
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  GraphQLIncludeDirective,
  type GraphQLSchema,
  GraphQLSkipDirective,
  Kind,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  type SelectionSetNode,
  getDirectiveValues,
  getVariableValues,
  parse,
  specifiedRules,
  validate,
  visit,
} from "graphql";

import { hashOf } from "./documents.ts";
import { Refusal, Refusals } from "./errors.ts";
import { LIMITS, type Size, check, exceeded, measure } from "./measure.ts";
import { Recent } from "./recent.ts";
import type { Operation } from "./router.ts";
import { type Used, usedBy } from "./usage.ts";

const MAX_PREPARED = 1_000; // documents; a team's own come to some dozens (a guess)
const MAX_PREPARED_CHARS = 4_000_000; // of their texts together; parsed they are more (a guess)
const MAX_ERRORS = 20; // that one answer names

const KEPT_ROOTS: ReadonlySet<string> = new Set(["image", "images", "__typename"]);
// When the caller stored an image first: it follows from neither its digest nor a release.
const TIMELY_FIELDS: ReadonlySet<string> = new Set(["createdAt"]);

const NOTHING: Used = { all: [], deprecated: [] };

type Variables = Readonly<Record<string, unknown>>;

interface Prepared {
  schema: GraphQLSchema;
  hash: string;
  document: DocumentNode;
  operations: readonly OperationDefinitionNode[];
  fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  hasTimely: boolean;
  /** What each of the operations names. */
  used: ReadonlyMap<OperationDefinitionNode, Used>;
}

/** One operation that may be executed. */
export interface Checked extends Operation {
  hash: string;
  isQuery: boolean;
  ids: readonly string[];
  /** Whether its answer follows from images, arguments and release alone. */
  isLasting: boolean;
  /** Whether directives leave nothing of it, which the router has no plan for. */
  isEmpty: boolean;
  /** As the document calls it, whether or not the request did. */
  title: string | undefined;
  used: Used;
}

export class Operations {
  readonly #production: boolean;
  readonly #prepared = new Recent<Prepared>(MAX_PREPARED, MAX_PREPARED_CHARS);

  /** In production nobody is told what the schema has besides what they ask for. */
  constructor(production: boolean) {
    this.#production = production;
  }

  /** Throws Refusal, Refusals. */
  check(
    schema: GraphQLSchema,
    text: string,
    name: string | undefined,
    variables: Variables,
  ): Checked {
    const prepared = this.#prepare(schema, text);
    const operation = chosen(prepared, name);
    const coerced = getVariableValues(schema, operation.variableDefinitions ?? [], variables, {
      maxErrors: MAX_ERRORS,
    });
    if (coerced.errors) throw this.#refused("BAD_USER_INPUT", coerced.errors);
    const size = measured(schema, operation, prepared, coerced.coerced);
    check(size);
    return {
      text,
      document: prepared.document,
      name,
      variables: declared(operation, variables),
      hash: prepared.hash,
      isQuery: operation.operation === "query",
      ids: size.ids,
      isLasting: !prepared.hasTimely && isKept(operation, prepared.fragments),
      isEmpty: isEmpty(operation, prepared.fragments, coerced.coerced),
      title: operation.name?.value,
      used: prepared.used.get(operation) ?? NOTHING,
    };
  }

  #prepare(schema: GraphQLSchema, text: string): Prepared {
    // Comments are no tokens.
    const most = LIMITS.characters;
    if (text.length > most) throw exceeded("query", `query: at most ${most} characters`, most);
    const known = this.#prepared.get(text);
    if (known?.schema === schema) return known;
    const prepared = this.#fresh(schema, text);
    this.#prepared.put(text, prepared, text.length);
    return prepared;
  }

  #fresh(schema: GraphQLSchema, text: string): Prepared {
    const document = this.#parse(text);
    const rules = this.#production
      ? [...specifiedRules, NoSchemaIntrospectionCustomRule]
      : specifiedRules;
    const errors = validate(schema, document, rules, { maxErrors: MAX_ERRORS });
    if (errors.length) throw this.#refused("GRAPHQL_VALIDATION_FAILED", errors);
    const operations: OperationDefinitionNode[] = [];
    const fragments = new Map<string, FragmentDefinitionNode>();
    for (const one of document.definitions) {
      if (one.kind === Kind.OPERATION_DEFINITION) operations.push(one);
      if (one.kind === Kind.FRAGMENT_DEFINITION) fragments.set(one.name.value, one);
    }
    const hasTimely = names(document, TIMELY_FIELDS);
    const used = new Map(operations.map((one) => [one, usedBy(schema, one, fragments)] as const));
    return { schema, hash: hashOf(text), document, operations, fragments, hasTimely, used };
  }

  #parse(text: string): DocumentNode {
    try {
      return parse(text, { maxTokens: LIMITS.tokens });
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      if (error.message.includes(`more that ${LIMITS.tokens} tokens`)) {
        throw exceeded("tokens", `tokens: at most ${LIMITS.tokens}`, LIMITS.tokens);
      }
      throw this.#refused("GRAPHQL_PARSE_FAILED", [error]);
    }
  }

  #refused(code: Refusal["code"], errors: readonly GraphQLError[]): Refusals {
    return new Refusals(
      errors.map(({ message, locations }) => {
        const told = this.#production ? message.replace(/ Did you mean .*\?$/s, "") : message;
        return new Refusal(code, told, { locations });
      }),
    );
  }
}

/** Those of the variables that an operation has: the others shape nothing. */
function declared(operation: OperationDefinitionNode, variables: Variables): Variables {
  const names = (operation.variableDefinitions ?? []).map(({ variable }) => variable.name.value);
  const sent = names.filter((name) => Object.hasOwn(variables, name));
  return Object.fromEntries(sent.map((name) => [name, variables[name]]));
}

function measured(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  prepared: Prepared,
  variables: Variables,
): Size {
  try {
    return measure(schema, operation, prepared.fragments, variables);
  } catch (error) {
    // A variable that may be left out where an argument needs a value.
    if (!(error instanceof GraphQLError)) throw error;
    throw new Refusal("BAD_USER_INPUT", error.message, { locations: error.locations });
  }
}

function chosen(prepared: Prepared, name: string | undefined): OperationDefinitionNode {
  const found = name
    ? prepared.operations.find((operation) => operation.name?.value === name)
    : prepared.operations.length === 1 && prepared.operations[0];
  if (!found) {
    const message = name
      ? "operationName: the document has no operation of this name"
      : "operationName: the document has several operations, or none";
    throw new Refusal("BAD_REQUEST", message, { field: "operationName" });
  }
  if (found.operation === "subscription") {
    throw new Refusal("GRAPHQL_VALIDATION_FAILED", "there are no subscriptions");
  }
  return found;
}

function isKept(
  operation: OperationDefinitionNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): boolean {
  const kept = (set: SelectionSetNode): boolean =>
    set.selections.every((one) => {
      if (one.kind === Kind.FIELD) return KEPT_ROOTS.has(one.name.value);
      const inner = one.kind === Kind.INLINE_FRAGMENT ? one : fragments.get(one.name.value);
      return inner !== undefined && kept(inner.selectionSet);
    });
  return operation.operation === "query" && kept(operation.selectionSet);
}

function isEmpty(
  operation: OperationDefinitionNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
  variables: Variables,
): boolean {
  const left = (set: SelectionSetNode): boolean =>
    set.selections.some((one) => {
      if (getDirectiveValues(GraphQLSkipDirective, one, variables)?.["if"] === true) return false;
      if (getDirectiveValues(GraphQLIncludeDirective, one, variables)?.["if"] === false) return false;
      if (one.kind === Kind.FIELD) return true;
      const inner = one.kind === Kind.INLINE_FRAGMENT ? one : fragments.get(one.name.value);
      return inner !== undefined && left(inner.selectionSet);
    });
  return !left(operation.selectionSet);
}

function names(document: DocumentNode, fields: ReadonlySet<string>): boolean {
  let found = false;
  visit(document, {
    Field(node) {
      found ||= fields.has(node.name.value);
    },
  });
  return found;
}
