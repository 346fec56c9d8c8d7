"""Generated from `proto/ottla/api/error` by `make proto`; do not edit."""
