"""Files of partition logs: segments, indexes, checkpoints, log directories and their flush."""
