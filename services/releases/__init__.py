"""Releases: one name for how the whole mesh behaves."""
