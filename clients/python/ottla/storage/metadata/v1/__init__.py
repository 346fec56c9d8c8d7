"""Generated from `proto/ottla/storage/metadata/v1` by `make proto`; do not edit."""
