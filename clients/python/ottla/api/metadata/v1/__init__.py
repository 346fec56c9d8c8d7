"""Generated from `proto/ottla/api/metadata/v1` by `make proto`; do not edit."""
