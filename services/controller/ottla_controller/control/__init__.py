"""The shell around the core: who leads, the one writer, the state that follows the store, sessions.

Stands on `store` and `core`; `rpc` stands on it. Knows neither gRPC nor sockets.
"""
