"""What the mesh saw, drawn onto copies of the images: `visionmesh moderate --annotate`."""
