"""What the services share: time, chance, tasks, settings, logs, servers and processes."""
