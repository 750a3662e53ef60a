"""The typed client of the mesh, for services, the command line, and any Python team."""
