"""Generated from `proto/ottla/api/produce/v1` by `make proto`; do not edit."""
