"""The controller: which brokers live, which topics there are, who leads what.

The only service that touches the metadata store. Layers: `rpc`, `control`, `store`, `core`.
"""
