"""Generated from `proto/ottla/api/record` by `make proto`; do not edit."""
