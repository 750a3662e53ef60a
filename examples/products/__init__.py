"""Another team's catalogue as a subgraph: products, whose images the mesh looks at."""
