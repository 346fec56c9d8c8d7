"""Generated from `proto/ottla/storage` by `make proto`; do not edit."""
