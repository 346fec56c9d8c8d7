"""The controller's RPCs: brokers' and operators' requests in, the core's answers out."""
