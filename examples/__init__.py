"""What others build on the mesh."""
