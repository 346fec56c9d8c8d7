"""The platform on one machine: `ottla up` and the services as processes."""
