"""What `ottla perf` does: measuring a cluster through the client library."""
