"""What answers each path: one module per resource."""
