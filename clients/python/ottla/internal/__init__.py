"""Generated from `proto/ottla/internal` by `make proto`; do not edit."""
