"""A real etcd cluster whose network can be cut: between its members, and to its clients.

Owns the links: members listen on ports of their own and tell each other the ports of links, and so
does a client that wants its connections cut. The processes know nothing of it and go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from kit.etcd import EtcdCluster, EtcdMember, EtcdOptions
from kit.tcp_links import Cut, TcpLinks, running_links


class CuttableEtcd(EtcdCluster):
    """Some members with links between them; what cuts and heals blocks for a moment."""

    def __init__(
        self, folder: Path, *, links: TcpLinks, size: int, options: EtcdOptions | None = None
    ) -> None:
        super().__init__(folder, size=size, options=options)
        self._links = links
        for member in self.members:
            member.link_port = links.listen(
                target=member.name,
                target_port=partial(getattr, member, "peer_port"),
                dialer=self._process_ids,
            )

    def connect_of(self, client: str, *members: EtcdMember) -> str:
        """The connect string of a client whose connections can be cut.

        Args:
            client: its name.
            members: those it knows; all if none is named.
        """
        assert not self.options.tls
        ports = [
            self._links.listen(
                target=member.name,
                target_port=partial(getattr, member, "client_port"),
                dialer=client,
            )
            for member in members or self.members
        ]
        return ",".join(f"127.0.0.1:{port}" for port in ports)

    def cut_off(self, member: EtcdMember, how: Cut) -> None:
        """Cuts a member off from the others; its clients still reach it."""
        others = (other.name for other in self.members if other is not member)
        self._links.cut(member.name, *others, how=how)

    def cut_between(self, one: EtcdMember, other: EtcdMember, how: Cut) -> None:
        """Cuts two members off from each other; both reach the rest."""
        self._links.cut(one.name, other.name, how=how)

    def cut_client_off(self, client: str, how: Cut) -> None:
        """Cuts a client off from all members; they still reach each other."""
        self._links.cut(client, *(member.name for member in self.members), how=how)

    def heal(self) -> None:
        """Ends every cut."""
        self._links.heal()

    def _process_ids(self) -> dict[str, int]:
        running = ((member.name, member.process) for member in self.members)
        return {name: process.pid for name, process in running if process is not None}


@contextmanager
def running_cuttable_etcd(
    folder: Path, *, size: int = 3, options: EtcdOptions | None = None
) -> Iterator[CuttableEtcd]:
    """A cluster that serves, ended with the block."""
    with running_links() as links:
        cluster = CuttableEtcd(folder, links=links, size=size, options=options)
        try:
            cluster.found()
            yield cluster
        finally:
            cluster.stop()
