"""What a person runs: the `visionmesh` command, and the launcher that tests start too."""
