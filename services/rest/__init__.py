"""The REST facade: HTTP in, gRPC through the mesh, JSON out. `openapi.yaml` is its contract."""
