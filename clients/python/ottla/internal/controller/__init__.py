"""Generated from `proto/ottla/internal/controller` by `make proto`; do not edit."""
