"""Generated from `proto/ottla/api/admin` by `make proto`; do not edit."""
