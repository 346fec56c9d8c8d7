"""What `make bench` runs: measurements with floors, of real processes."""
