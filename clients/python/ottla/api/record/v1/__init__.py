"""Generated from `proto/ottla/api/record/v1` by `make proto`; do not edit."""
