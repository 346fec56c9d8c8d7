"""Generated from `proto/ottla/api/admin/v1` by `make proto`; do not edit."""
