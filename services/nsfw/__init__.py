"""Says how likely an image is not safe for work."""
