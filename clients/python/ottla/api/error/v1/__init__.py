"""Generated from `proto/ottla/api/error/v1` by `make proto`; do not edit."""
