"""Generated from `proto/ottla/api/cluster` by `make proto`; do not edit."""
