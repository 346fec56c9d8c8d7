"""Generated from `proto/ottla/internal/etcd` by `make proto`; do not edit."""
