"""Reads the text that an image shows, line by line."""
