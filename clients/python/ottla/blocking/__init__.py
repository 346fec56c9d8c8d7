"""The client without await: the same names and arguments, for threads, scripts and notebooks.

    with ottla.blocking.Producer("127.0.0.1:9092") as producer:
        producer.send("flights", b"UA1545 EWR IAH", key=b"UA")

All clients of a process share one private thread with an event loop, on which the asyncio client
does the work. It runs from the first `open` to the last `close`.
"""

from ottla.blocking.admin import Admin
from ottla.blocking.consumer import Consumer
from ottla.blocking.deliveries import Deliveries, Delivery
from ottla.blocking.producer import Producer

__all__ = ["Admin", "Consumer", "Deliveries", "Delivery", "Producer"]
