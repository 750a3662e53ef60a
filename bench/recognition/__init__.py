"""How well models see, measured on pictures that are made here from photos that packages bring."""
