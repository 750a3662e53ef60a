"""The durable log of every verdict: who got it, on which image, from which release, and why."""
