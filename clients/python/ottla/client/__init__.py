"""The asyncio client: producer, consumer, administration, and what they stand on.

Owns nothing itself but one thing that must come before gRPC is loaded. In a process that forks
while gRPC is in use, gRPC's own handlers of forks crash every second child. They are of no use to
`grpc.aio`, and Python's part of them is off by default; unless somebody wants them (by setting the
variable), so is the rest.
"""

import os
import sys

FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"
SETS_FORK_SUPPORT = FORK_SUPPORT not in os.environ and "grpc" not in sys.modules
"""Whether the variable is ours: gRPC reads it when loaded, then `forks` takes it away again."""

if SETS_FORK_SUPPORT:
    os.environ[FORK_SUPPORT] = "0"
