"""The cluster as this broker knows it, and the broker's session with the controller."""
