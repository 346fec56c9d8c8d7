"""Real etcd processes for tests: one or several members, with TLS or passwords, killed at will.

Owns starting them on free ports of the loopback interface in a folder of the test's, and what an
operator or a bad day does to them. They die with the process that started them, and do not flush
unless asked to, because a machine that loses its power is no subject of these tests. Debian's
packages `etcd-server` and `etcd-client` bring the two commands.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from kit.ports import free_port

READY_SECONDS: Final = 20.0
COMMAND_SECONDS: Final = 20.0
TLS_FOLDER: Final = Path(__file__).parent / "tls"
CA, CERT, KEY = (TLS_FOLDER / name for name in ("ca.pem", "client.pem", "client.key"))
_PORT_ATTEMPTS: Final = 5
_READY: Final = "serving client traffic"

ETCD_IS_MISSING: Final = shutil.which("etcd") is None or shutil.which("etcdctl") is None
needs_etcd = pytest.mark.skipif(ETCD_IS_MISSING, reason="etcd is not installed")


@dataclass(frozen=True)
class EtcdOptions:
    """How a cluster is started."""

    flushes: bool = False
    tls: bool = False
    client_certificates: bool = False
    """Whether clients have to show a certificate; with `tls`."""
    heartbeat_ms: int = 100
    election_ms: int = 1_000
    more: Sequence[str] = ()
    """Further arguments of etcd."""


@dataclass
class EtcdMember:
    """One member, restarted under the same ports and with the same data."""

    name: str
    folder: Path
    client_port: int = 0
    peer_port: int = 0
    link_port: int = 0
    """Where other members reach it, if there are links between them (`kit.cuttable_etcd`)."""
    process: subprocess.Popen[bytes] | None = None
    launched_at: int = 0
    """Where in its log this run begins."""

    def move(self) -> None:
        """Takes other ports."""
        self.client_port, self.peer_port = free_port(), free_port()

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def latest_log(self) -> str:
        """What it has said since it was launched last."""
        return self.log.read_bytes()[self.launched_at :].decode(errors="replace")

    @property
    def data(self) -> Path:
        return self.folder / f"{self.name}.etcd"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """What the others are told."""
        return f"http://127.0.0.1:{self.link_port or self.peer_port}"

    def kill(self) -> None:
        """As a crash."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Keeps its connections and says nothing any more."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class EtcdCluster:
    """Some members. What blocks (all but signals) is for threads when a loop runs."""

    def __init__(self, folder: Path, *, size: int = 1, options: EtcdOptions | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = options or EtcdOptions()
        self.token = "ottla-test"
        self.user = ""
        self.members = [EtcdMember(f"m{number}", folder) for number in range(size)]
        for member in self.members:
            member.move()

    @property
    def connect(self) -> str:
        """The connect string of all members, without a prefix."""
        scheme = "https://" if self.options.tls else ""
        return scheme + ",".join(member.address for member in self.members)

    def launch(self, *members: EtcdMember) -> None:
        """Starts members, all if none is named, without waiting for them."""
        for member in members or self.members:
            assert member.process is None
            with member.log.open("ab") as log:
                member.launched_at = log.tell()
                member.process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "etcd", *self._arguments(member)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": os.environ["PATH"], **_unsupported_architecture()},
                )

    def await_ready(self, *members: EtcdMember) -> None:
        """Returns once members, all if none is named, serve since they were launched."""
        deadline = time.monotonic() + READY_SECONDS
        for member in members or self.members:
            assert member.process is not None
            while _READY not in (text := member.latest_log()):
                assert member.process.poll() is None, f"etcd ended:\n{text[-3_000:]}"
                assert time.monotonic() < deadline, f"etcd is not ready:\n{text[-3_000:]}"
                time.sleep(0.01)

    def start(self, *members: EtcdMember) -> None:
        """Starts members, all if none is named, and waits until they serve."""
        self.launch(*members)
        self.await_ready(*members)

    def found(self) -> None:
        """Starts a cluster that never ran, on other ports where somebody was faster."""
        for attempt in range(_PORT_ATTEMPTS):
            try:
                self.start()
            except AssertionError as error:
                self.stop()
                if attempt + 1 == _PORT_ATTEMPTS or "address already in use" not in str(error):
                    raise
                for member in self.members:
                    member.move()
                    shutil.rmtree(member.data, ignore_errors=True)
            else:
                return

    def restart(self, member: EtcdMember) -> None:
        """Kills a member and starts it again."""
        member.kill()
        self.start(member)

    def stop(self) -> None:
        """Ends all members."""
        for member in self.members:
            member.kill()

    def leader(self) -> EtcdMember:
        """The member that leads; waits until there is one."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                if member.process is None:
                    continue
                ran = self.try_ctl("endpoint", "status", "-w", "json", at=[member])
                if ran.returncode == 0:
                    status = json.loads(ran.stdout)[0]["Status"]
                    if status.get("leader") == status["header"]["member_id"]:
                        return member
            time.sleep(0.02)
        raise AssertionError("no member of etcd leads")

    def ctl(self, *words: str, at: Sequence[EtcdMember] = (), given: str = "") -> str:
        """Runs `etcdctl`; returns what it prints."""
        ran = self.try_ctl(*words, at=at, given=given)
        assert ran.returncode == 0, f"etcdctl {words}: {ran.stderr}"
        return ran.stdout

    def try_ctl(
        self, *words: str, at: Sequence[EtcdMember] = (), given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs `etcdctl` against some members, all if none is named."""
        addresses = ",".join(member.address for member in at or self.members)
        secure = (f"--cacert={CA}", f"--cert={CERT}", f"--key={KEY}") if self.options.tls else ()
        user = (f"--user={self.user}",) if self.user else ()
        return subprocess.run(
            [
                "etcdctl",
                f"--endpoints={addresses}",
                "--command-timeout=10s",
                *secure,
                *user,
                *words,
            ],
            input=given,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def put(self, key: str, value: str) -> None:
        self.ctl("put", key, value)

    def revision(self) -> int:
        """The latest revision."""
        found: dict[str, Any] = json.loads(self.ctl("get", "none", "-w", "json"))
        return int(found["header"]["revision"])

    def compact(self, revision: int) -> None:
        """Forgets history up to a revision."""
        self.ctl("compact", str(revision))

    def snapshot(self, path: Path) -> None:
        """Writes a backup."""
        self.ctl("snapshot", "save", str(path), at=self.members[:1])

    def restore(self, path: Path, *, token: str | None = None) -> None:
        """Replaces the data of members that have ended by a backup's.

        Args:
            path: the backup.
            token: names the new cluster; as before, its id stays the same.
        """
        self.token = token or self.token
        for member in self.members:
            assert member.process is None
            shutil.rmtree(member.data, ignore_errors=True)
            self.ctl(
                "snapshot",
                "restore",
                str(path),
                f"--name={member.name}",
                f"--data-dir={member.data}",
                f"--initial-cluster={self._initial_cluster()}",
                f"--initial-cluster-token={self.token}",
                f"--initial-advertise-peer-urls={member.peer_url}",
            )

    def enable_authentication(self, *, user: str, password: str, prefix: str) -> None:
        """From now on only the root user and `user` are let in; that one, to the prefix."""
        self.ctl("user", "add", "root:root-password")
        self.ctl("user", "grant-role", "root", "root")
        self.ctl("role", "add", "controllers")
        self.ctl("role", "grant-permission", "controllers", "--prefix=true", "readwrite", prefix)
        self.ctl("user", "add", f"{user}:{password}")
        self.ctl("user", "grant-role", user, "controllers")
        self.ctl("auth", "enable")
        self.user = "root:root-password"

    def _initial_cluster(self) -> str:
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def _arguments(self, member: EtcdMember) -> Iterator[str]:
        options = self.options
        client_url = f"{'https' if options.tls else 'http'}://{member.address}"
        yield from (
            f"--name={member.name}",
            f"--data-dir={member.data}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls=http://127.0.0.1:{member.peer_port}",
            f"--initial-advertise-peer-urls={member.peer_url}",
            f"--initial-cluster={self._initial_cluster()}",
            f"--initial-cluster-token={self.token}",
            f"--heartbeat-interval={options.heartbeat_ms}",
            f"--election-timeout={options.election_ms}",
            "--logger=zap",
        )
        if not options.flushes:
            yield "--unsafe-no-fsync"
        if options.tls:
            yield from (
                f"--cert-file={TLS_FOLDER / 'server.pem'}",
                f"--key-file={TLS_FOLDER / 'server.key'}",
            )
        if options.client_certificates:
            yield from (f"--trusted-ca-file={CA}", "--client-cert-auth=true")
        yield from options.more


@contextmanager
def running_etcd(
    folder: Path, *, size: int = 1, options: EtcdOptions | None = None
) -> Iterator[EtcdCluster]:
    """A cluster that serves, ended with the block."""
    cluster = EtcdCluster(folder, size=size, options=options)
    try:
        cluster.found()
        yield cluster
    finally:
        cluster.stop()


def _unsupported_architecture() -> dict[str, str]:
    """Lets etcd run on machines that its makers do not test on."""
    machine = os.uname().machine
    if machine == "x86_64":
        return {}
    return {"ETCD_UNSUPPORTED_ARCH": {"aarch64": "arm64", "armv7l": "arm"}.get(machine, machine)}
