"""Says which things of known kinds an image shows, and where."""
