"""Where the cluster's metadata is kept: the `MetadataStore` interface and what implements it.

Owns consistent reads, transactions with compares, leases, watches, elections. Does not know what
the keys and values mean: `core.record_keys` does.
"""
