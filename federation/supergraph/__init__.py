"""The supergraph: how it is composed of subgraphs, and what may not change in it."""
