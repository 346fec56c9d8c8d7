"""The demonstration: a year of flights through real service processes, and back."""
