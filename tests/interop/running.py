"""Running a program of `clients/` against a cluster that has a listener of each kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .languages import Language, built
from .round_trips import Ran, objections, outcome_of
from .service import CERTIFICATES
from .toolchains import MissingToolchain, StockClient

PLAINTEXT, TLS = "plaintext", "TLS"
_SETTINGS: dict[str, object] = {
    "listener": ["public=127.0.0.1:0", "secure=127.0.0.1:0,tls"],
    "tls.certificate.path": str(CERTIFICATES / "server.pem"),
    "tls.key.path": str(CERTIFICATES / "server.key"),
}
# Serves until its input ends; says on the pipe where.
_CLUSTER = """
import json
import os
import sys
import ottla.testing
from ottla.blocking import Admin
with ottla.testing.cluster(broker_settings=json.loads(sys.argv[1])) as cluster:
    with Admin(cluster.bootstrap) as admin:
        (broker,) = admin.describe_cluster().brokers
    with os.fdopen(int(sys.argv[2]), "w") as pipe:
        json.dump({name: each.port for name, each in broker.addresses.items()}, pipe)
    sys.stdin.read()
"""


@contextmanager
def listeners() -> Iterator[Mapping[str, str]]:
    """The addresses, by security, of a cluster in a process of its own.

    It ends with the block. Raises RuntimeError with what the process said if it ended before.
    """
    with tempfile.TemporaryFile() as log:
        ports_fd, written_fd = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-c", _CLUSTER, json.dumps(_SETTINGS), str(written_fd)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(written_fd,),
        ):
            os.close(written_fd)
            with os.fdopen(ports_fd) as pipe:
                said = pipe.read()
            if not said:
                log.seek(0)
                raise RuntimeError(f"no cluster came up:\n{log.read().decode()[-4_000:]}")
            ports = json.loads(said)
            # By name: some clients look for what they connect to in a certificate as a name only.
            yield {
                PLAINTEXT: f"127.0.0.1:{ports['public']}",
                TLS: f"localhost:{ports['secure']}",
            }


def run_program(client: StockClient, *arguments: str, seconds: float) -> str:
    """What the program prints.

    Raises:
        RuntimeError: it failed; has its complaints.
        subprocess.TimeoutExpired: it took longer than `seconds`.
    """
    done = subprocess.run(
        [*client.command, *arguments],
        cwd=client.folder,
        env=client.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def round_trip(
    language: Language, address: str, *, security: str, count: int, seconds: float
) -> Ran:
    """Builds the program if need be and runs it."""
    try:
        client = built(language)
        authority = [str(CERTIFICATES / "ca.pem")] if security == TLS else []
        outcome = outcome_of(run_program(client, address, str(count), *authority, seconds=seconds))
    except (MissingToolchain, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        return Ran(language.title, security, trouble=str(error))
    wrong = objections(outcome, language=language.name, count=count)
    return Ran(language.title, security, outcome, "; ".join(wrong))
