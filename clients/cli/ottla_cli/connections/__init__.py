"""Which cluster a command talks to, and how: flags, environment and contexts."""
