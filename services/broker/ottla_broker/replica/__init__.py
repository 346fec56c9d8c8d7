"""What a broker hosts: partitions opened, led, appended to and read from."""
