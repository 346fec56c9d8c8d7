"""The broker service: partition replicas appended, replicated and served. Starts in `app`."""
