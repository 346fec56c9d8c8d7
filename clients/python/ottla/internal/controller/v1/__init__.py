"""Generated from `proto/ottla/internal/controller/v1` by `make proto`; do not edit."""
