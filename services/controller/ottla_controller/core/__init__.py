"""The controller's decisions, free of I/O: the cluster's state, what may change it, and how.

A handler takes the state, an input and the time, and returns a `Result`: changes of records and a
response. Only `ClusterState.replay` mutates the state, with whole revisions of the store.
"""
