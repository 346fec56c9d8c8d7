"""Generated from `proto/ottla/api/produce` by `make proto`; do not edit."""
