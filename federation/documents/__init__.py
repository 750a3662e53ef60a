"""Documents that clients name by their hash, and the manifest of them."""
