"""Generated from `proto/ottla/api/fetch` by `make proto`; do not edit."""
