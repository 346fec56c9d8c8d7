"""What producer and consumer decide, without sockets, clocks or tasks: values in, values out."""
