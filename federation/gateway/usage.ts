// Which fields of the graph are asked for, and by whom those that are to go.
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  Kind,
  type OperationDefinitionNode,
  TypeInfo,
  visit,
  visitWithTypeInfo,
} from "graphql";

export interface FieldName {
  type: string;
  field: string;
}

/** The fields that an operation names, each once, as its text says: directives may leave some out. */
export interface Used {
  all: readonly FieldName[];
  /** Those of them that are deprecated. */
  deprecated: readonly FieldName[];
}

/** Of a valid operation; what the schema says of itself is left out. */
export function usedBy(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): Used {
  const all = new Map<string, FieldName>();
  const deprecated = new Map<string, FieldName>();
  const spread = new Set<string>();
  const info = new TypeInfo(schema);

  const look = (definition: OperationDefinitionNode | FragmentDefinitionNode) => {
    const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [definition] };
    const found: string[] = [];
    visit(
      document,
      visitWithTypeInfo(info, {
        Field() {
          const type = info.getParentType()?.name ?? "";
          const field = info.getFieldDef();
          if (!field || type.startsWith("__") || field.name.startsWith("__")) return;
          const name = { type, field: field.name };
          all.set(`${type}.${field.name}`, name);
          if (field.deprecationReason != null) deprecated.set(`${type}.${field.name}`, name);
        },
        FragmentSpread({ name }) {
          found.push(name.value);
        },
      }),
    );
    for (const name of found) {
      const fragment = fragments.get(name);
      if (!fragment || spread.has(name)) continue;
      spread.add(name);
      look(fragment);
    }
  };

  look(operation);
  return { all: [...all.values()], deprecated: [...deprecated.values()] };
}
