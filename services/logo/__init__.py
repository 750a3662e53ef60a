"""The logo service: which brands' logos an image shows, and where."""
