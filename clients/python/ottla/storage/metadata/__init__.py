"""Generated from `proto/ottla/storage/metadata` by `make proto`; do not edit."""
