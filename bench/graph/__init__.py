"""The graph beside REST: how long it takes, how many bytes it sends, what it costs in CPU."""
