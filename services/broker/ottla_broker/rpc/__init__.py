"""gRPC servicers of the broker: requests in, replica calls, responses out."""
