"""Benchmarks: each prints the ratio to the limit that it is measured against."""
