"""Generated from `proto/ottla/api` by `make proto`; do not edit."""
