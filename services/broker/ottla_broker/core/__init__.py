"""Pure decisions of the broker: log arithmetic, no files, no sockets, no clock."""
