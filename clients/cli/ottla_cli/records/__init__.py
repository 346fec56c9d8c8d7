"""Records as lines: the pure parts of `ottla produce` and `ottla consume`."""
