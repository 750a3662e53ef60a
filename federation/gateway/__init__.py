"""The GraphQL gateway, which is TypeScript, and what it must know of the rest of the mesh."""
