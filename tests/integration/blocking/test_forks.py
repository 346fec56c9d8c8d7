"""Clients and fork(): the parent's are refused in the child, the child's own work, nobody hangs."""

from __future__ import annotations

import pytest
from integration.blocking.cluster_process import ClusterProcess
from integration.blocking.programs import run

pytestmark = pytest.mark.slow

MAKE_IT_THERE = "the client was made before fork(); make it in the child process"

BLOCKING = """
producer = ottla.blocking.Producer(bootstrap)
producer.open()
producer.send("forks", b"before").result()
consumer = ottla.blocking.Consumer(bootstrap)
consumer.open()
consumer.assign(["forks"])
admin = ottla.blocking.Admin(bootstrap)
uses = [
    lambda: producer.send("forks", b"lost"), lambda: producer.send_many("forks", [b"lost"]),
    producer.flush, producer.close, lambda: next(consumer), consumer.next_batch,
    consumer.assignment, consumer.close, admin.open, admin.list_topics,
]
if os.fork() == 0:
    for use in uses:
        print(said(use))
    print(said(ottla.blocking.Producer(bootstrap).open), flush=True)
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.wait()[1]))
print(producer.send("forks", b"after").result().offset)
admin.open()
print(len(admin.describe_topics(["forks"])))
for client in (producer, consumer, admin):
    client.close()
"""


def test_a_blocking_client_is_refused_in_the_child_and_goes_on_in_the_parent(
    cluster: ClusterProcess,
) -> None:
    cluster.create_topic("forks")
    ended = run(BLOCKING, cluster.bootstrap)
    assert ended.lines[:10] == [MAKE_IT_THERE] * 10
    assert "forked while gRPC was in use" in ended.lines[10]
    assert ended.lines[11:] == ["3", "1", "1"]
    assert (ended.code, ended.errors) == (0, "")


ASYNCIO = """
loop = asyncio.new_event_loop()
producer, consumer = ottla.Producer(bootstrap), ottla.Consumer(bootstrap)
admin = ottla.Admin(bootstrap)
for client in (producer, consumer, admin):
    loop.run_until_complete(client.open())

async def send():
    return await (await producer.send("forks-too", b"v"))

loop.run_until_complete(send())
loop.run_until_complete(consumer.assign(["forks-too"]))
uses = [
    lambda: producer.send("forks-too", b"lost"), lambda: producer.send_many("forks-too", [b"lost"]),
    producer.flush, producer.close, lambda: anext(consumer), consumer.next_batch, consumer.close,
    admin.list_topics, lambda: ottla.Admin(bootstrap).open(),
]
if os.fork() == 0:
    async def used(use):
        return await use()
    for use in uses:
        print(said(lambda: asyncio.run(used(use))), flush=True)
    os._exit(3)  # as prefork servers end their workers; a loop that was forked can't be closed
print(os.waitstatus_to_exitcode(os.wait()[1]))
print(loop.run_until_complete(send()).offset)
for client in (producer, consumer, admin):
    loop.run_until_complete(client.close())
loop.close()
"""


def test_an_asyncio_client_is_refused_in_the_child_and_goes_on_in_the_parent(
    cluster: ClusterProcess,
) -> None:
    cluster.create_topic("forks-too")
    ended = run(ASYNCIO, cluster.bootstrap)
    assert ended.lines[:8] == [MAKE_IT_THERE] * 8
    assert "forked while gRPC was in use" in ended.lines[8]
    assert ended.lines[9:] == ["3", "1"]
    assert (ended.code, ended.errors) == (0, "")


PREFORK = """
{before}
def work_blocking():
    with ottla.blocking.Producer(bootstrap) as producer:
        producer.send_many("workers", [b"%d" % os.getpid()] * 100)

def work_awaiting():
    async def work():
        async with ottla.Producer(bootstrap) as producer:
            await producer.send_many("workers", [b"%d" % os.getpid()] * 100)
    asyncio.run(work())

for work in (work_blocking, work_awaiting, work_blocking, work_awaiting):
    if os.fork() == 0:
        work()
        sys.exit(0)
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)])
with ottla.blocking.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
    consumer.assign(["workers"])
    values = [next(consumer).value for _ in range(400)]
    print(sorted(values.count(value) for value in set(values)))
"""


CLOSED_BEFORE = """
with ottla.blocking.Admin(bootstrap) as admin:
    admin.create_topic("config")
with ottla.blocking.Producer(bootstrap) as producer:
    producer.send("config", b"v").result()
with ottla.blocking.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
    consumer.assign(["config"])
    next(consumer)

async def used():
    consumer = ottla.Consumer(bootstrap, auto_offset_reset="earliest")
    async with ottla.Producer(bootstrap) as producer, consumer:
        await consumer.assign(["config"])
        await (await producer.send("config", b"v"))
        await anext(consumer)
asyncio.run(used())
"""


@pytest.mark.parametrize("before", ["", CLOSED_BEFORE], ids=["first", "after"])
def test_workers_forked_while_no_client_is_open_have_clients_of_their_own(
    cluster: ClusterProcess, before: str
) -> None:
    workers = "workers-after" if before else "workers-first"
    cluster.create_topic(workers)
    program = PREFORK.replace("{before}", before).replace("workers", workers)
    ended = run(program, cluster.bootstrap)
    assert ended.lines == ["[0, 0, 0, 0]", "[100, 100, 100, 100]"]
    assert (ended.code, ended.errors) == (0, "")


THREADS = """
producer = ottla.blocking.Producer(bootstrap)
producer.open()
producer.send("busy", b"known").result()
ends = threading.Event()

def send():
    while not ends.is_set():
        producer.send("busy", b"v" * 100)

senders = [threading.Thread(target=send) for _ in range(4)]
for each in senders:
    each.start()
codes = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        message = said(lambda: producer.send("busy", b"lost"))
        os._exit(5 if message.startswith("the client was made") else 6)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ends.set()
for each in senders:
    each.join()
producer.close()
print(set(codes))
"""


def test_a_fork_amid_sending_threads_leaves_no_lock_behind(cluster: ClusterProcess) -> None:
    cluster.create_topic("busy")
    ended = run(THREADS, cluster.bootstrap)
    assert ended.lines == ["{5}"]
    assert (ended.code, ended.errors) == (0, "")


NATIVE = """
from ottla.client import forks
with ottla.blocking.Producer(bootstrap) as producer:
    producer.send("native", b"v").result()
    own = {str(each.native_id) for each in threading.enumerate()}
    tasks = [each for each in forks._TASKS.iterdir() if each.name not in own]
    names = {(each / "comm").read_text().strip() for each in tasks}
print(any(each.startswith(forks._NATIVE_THREADS) for each in names))
unnamed = (forks._TASKS / str(threading.get_native_id()) / "comm").read_text().strip()
print([each for each in names - {unnamed} if not each.startswith(forks._NATIVE_THREADS)])
forks._process.will_fork()
print(forks._process.forks_with_grpc)
"""


def test_grpc_threads_are_known_by_their_names_so_that_a_fork_waits_for_their_end(
    cluster: ClusterProcess,
) -> None:
    cluster.create_topic("native")
    ended = run(NATIVE, cluster.bootstrap)
    assert ended.lines == ["True", "[]", "False"]
    assert (ended.code, ended.errors) == (0, "")


OWN_CHANNEL = """
from ottla.client import forks
import grpc

async def main():
    async with grpc.aio.insecure_channel(bootstrap):
        async with ottla.Producer(bootstrap) as producer:
            await (await producer.send("shared", b"v"))
        forks.time.sleep = None  # calling it would be said
        if os.fork() == 0:
            os._exit(3)
        print(os.waitstatus_to_exitcode(os.wait()[1]), forks._process.forks_with_grpc)

asyncio.run(main())
"""


def test_a_fork_does_not_wait_for_the_end_of_grpc_where_others_used_it_before(
    cluster: ClusterProcess,
) -> None:
    cluster.create_topic("shared")
    ended = run(OWN_CHANNEL, cluster.bootstrap)
    assert ended.lines == ["3 True"]
    assert (ended.code, ended.errors) == (0, "")
