"""What else people use, measured like Ottla, on the same machine and in the same run."""
