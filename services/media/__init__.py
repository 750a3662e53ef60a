"""Images: formats, safe decoding, orientation, renditions, and the store that keeps them."""
