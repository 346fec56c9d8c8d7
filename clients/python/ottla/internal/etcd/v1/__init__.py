"""Generated from `proto/ottla/internal/etcd/v1` by `make proto`; do not edit."""
