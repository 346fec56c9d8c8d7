"""Generated from `proto/ottla/internal/broker` by `make proto`; do not edit."""
