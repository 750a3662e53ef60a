"""Weight files: where they come from, what they must hash to, under which licence they are."""
