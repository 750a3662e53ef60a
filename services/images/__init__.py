"""The images service: takes images in, describes them, deletes them."""
