"""One module a subgraph, and the app that serves them."""
