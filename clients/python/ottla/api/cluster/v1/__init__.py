"""Generated from `proto/ottla/api/cluster/v1` by `make proto`; do not edit."""
