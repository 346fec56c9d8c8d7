"""Generated from `proto/ottla/api/fetch/v1` by `make proto`; do not edit."""
