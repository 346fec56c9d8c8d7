"""The `ottla` command: runs the platform on one machine, operates it, moves records in and out."""
