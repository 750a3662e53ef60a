// One document as it goes to a subgraph: its text, and where its answer's nulls are when it fails.
import {
  type ArgumentNode,
  type DocumentNode,
  type FieldNode,
  GraphQLError,
  Kind,
  OperationTypeNode,
  type SelectionSetNode,
  print,
} from "graphql";

import { type Standing, predictionOf, standingOf } from "./predictions.ts";

type Variables = Readonly<Record<string, unknown>>;

interface Root {
  key: string;
  /** Of a query's `image` or `images`, when nothing but their ids is asked. */
  standing?: Standing;
  /** Of `_entities`: the variable that holds the representations, and the fields asked of each. */
  entities?: { variable: string; fields: readonly string[] };
}

export interface Sent {
  text: string;
  roots: readonly Root[];
}

const KNOWN = new WeakMap<DocumentNode, Sent>(); // the planner keeps its documents

export function sentOf(document: DocumentNode): Sent {
  let sent = KNOWN.get(document);
  if (!sent) {
    sent = { text: print(document), roots: rootsOf(document) };
    KNOWN.set(document, sent);
  }
  return sent;
}

export function asksForEntities(sent: Sent): boolean {
  return sent.roots.some((root) => root.entities);
}

/** What will be answered when all images are there that are asked for; nothing when more is asked. */
export function predicted(sent: Sent, variables: Variables): Record<string, unknown> | undefined {
  const data: Record<string, unknown> = {};
  for (const { key, standing } of sent.roots) {
    const prediction = standing && predictionOf(standing, variables);
    if (prediction === undefined) return undefined;
    data[key] = prediction;
  }
  return sent.roots.length ? data : undefined;
}

/**
 * The answer of a subgraph that gives none: every field that it was asked for is null, and each
 * null has an error at its place. Without it the router would name the place of the whole list.
 */
export function nothing(
  sent: Sent,
  variables: Variables,
  message: string,
  extensions: Record<string, unknown>,
): { data: Record<string, unknown>; errors: GraphQLError[] } {
  const data: Record<string, unknown> = {};
  const errors: GraphQLError[] = [];
  for (const { key, entities } of sent.roots) {
    if (!entities) {
      data[key] = null;
      errors.push(new GraphQLError(message, { path: [key], extensions }));
      continue;
    }
    const representations = variables[entities.variable];
    const count = Array.isArray(representations) ? representations.length : 0;
    data[key] = Array.from({ length: count }, () => null);
    for (let index = 0; index < count; index += 1) {
      for (const field of entities.fields) {
        errors.push(new GraphQLError(message, { path: [key, index, field], extensions }));
      }
    }
  }
  return { data, errors };
}

function rootsOf(document: DocumentNode): Root[] {
  const operation = document.definitions.find((one) => one.kind === Kind.OPERATION_DEFINITION);
  if (!operation) return [];
  const isQuery = operation.operation === OperationTypeNode.QUERY;
  return fieldsOf(operation.selectionSet, document).map((field) => {
    const standing = isQuery ? standingOf(field) : undefined;
    return { ...rootOf(field, document), ...(standing && { standing }) };
  });
}

function rootOf(field: FieldNode, document: DocumentNode): Root {
  const key = keyOf(field);
  const variable = field.name.value === "_entities" ? variableOf(field.arguments) : undefined;
  if (!variable || !field.selectionSet) return { key };
  const fields = fieldsOf(field.selectionSet, document).map(keyOf);
  return { key, entities: { variable, fields: fields.filter((name) => name !== "__typename") } };
}

function variableOf(args: readonly ArgumentNode[] | undefined): string | undefined {
  const value = args?.find((argument) => argument.name.value === "representations")?.value;
  return value?.kind === Kind.VARIABLE ? value.name.value : undefined;
}

function keyOf(field: FieldNode): string {
  return field.alias?.value ?? field.name.value;
}

/** The fields of a selection set, those of its fragments among them. */
function fieldsOf(selection: SelectionSetNode, document: DocumentNode): FieldNode[] {
  return selection.selections.flatMap((one) => {
    if (one.kind === Kind.FIELD) return [one];
    if (one.kind === Kind.INLINE_FRAGMENT) return fieldsOf(one.selectionSet, document);
    const fragment = document.definitions
      .filter((each) => each.kind === Kind.FRAGMENT_DEFINITION)
      .find((each) => each.name.value === one.name.value);
    return fragment ? fieldsOf(fragment.selectionSet, document) : [];
  });
}
