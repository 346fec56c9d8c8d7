"""Generated from `proto/ottla/internal/broker/v1` by `make proto`; do not edit."""
