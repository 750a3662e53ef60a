"""The graph for internal teams: one subgraph a model, composed into one supergraph."""
