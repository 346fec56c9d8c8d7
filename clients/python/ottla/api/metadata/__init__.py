"""Generated from `proto/ottla/api/metadata` by `make proto`; do not edit."""
