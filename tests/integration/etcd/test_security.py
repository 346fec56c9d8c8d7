"""The etcd store with TLS, client certificates, user names, and tokens that run out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from integration.etcd.arrangement import done_in_thread, running_store, settings_of

from kit.etcd import CA, CERT, KEY, EtcdCluster, EtcdOptions, running_etcd
from ottla.protocol.errors import (
    InvalidConfig,
    MetadataStoreUnavailable,
    NotAuthenticated,
    NotAuthorized,
    OttlaError,
)
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.interface import PutKey

pytestmark = pytest.mark.slow

USER, PASSWORD = "ottla", "a-password,and-not-a-short-one"


def secure(folder: Path, *, client_certificates: bool) -> Iterator[EtcdCluster]:
    options = EtcdOptions(
        tls=True, client_certificates=client_certificates, heartbeat_ms=10, election_ms=100
    )
    with running_etcd(folder, options=options) as cluster:
        yield cluster


@pytest.fixture
def encrypted(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    yield from secure(tmp_path / "etcd", client_certificates=False)


@pytest.fixture
def mutual(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    yield from secure(tmp_path / "etcd", client_certificates=True)


@pytest.fixture
def guarded(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    """Asks for a password, and gives out tokens that end after a second without use."""
    more = ("--auth-token=simple", "--auth-token-ttl=1")
    options = EtcdOptions(heartbeat_ms=10, election_ms=100, more=more)
    with running_etcd(tmp_path / "etcd", options=options) as cluster:
        cluster.enable_authentication(user=USER, password=PASSWORD, prefix="/test/")
        yield cluster


async def works(settings: EtcdSettings) -> None:
    """Does what a controller cannot do without."""
    async with running_store(settings) as store:
        done = await store.transact([], [PutKey(b"a", b"1")])
        async with store.watch(b"", from_revision=done.revision) as revisions:
            assert (await anext(revisions)).events[0].value == b"1"
        assert [item.value for item in (await store.read(b"a")).items] == [b"1"]
        lease_id = await store.grant_lease(60_000)
        await store.keep_lease_alive(lease_id)


async def refused(settings: EtcdSettings) -> OttlaError:
    with pytest.raises(OttlaError) as caught:
        await works(replace(settings, open_timeout_ms=settings.request_timeout_ms))
    return caught.value


def quickly(cluster: EtcdCluster, **more: object) -> EtcdSettings:
    return settings_of(cluster, request_timeout_ms=500, **more)


async def test_tls_protects_the_connection_and_knows_etcd_by_its_authority(
    encrypted: EtcdCluster,
) -> None:
    await works(settings_of(encrypted, ca_path=CA))
    unknown = await refused(quickly(encrypted))
    assert isinstance(unknown, MetadataStoreUnavailable)
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.message
    plain = EtcdSettings.parsed(encrypted.connect.removeprefix("https://"), request_timeout_ms=500)
    unencrypted = await refused(plain)
    assert isinstance(unencrypted, MetadataStoreUnavailable)
    assert "write https:// in front" in unencrypted.message


async def test_mutual_tls_lets_in_who_shows_a_certificate(mutual: EtcdCluster) -> None:
    await works(settings_of(mutual, ca_path=CA, cert_path=CERT, key_path=KEY))
    nobody = await refused(quickly(mutual, ca_path=CA))
    assert isinstance(nobody, MetadataStoreUnavailable)
    assert "asks for a client certificate, give one" in nobody.message


async def test_a_file_of_tls_that_is_not_there_is_named(tmp_path: Path, lone: EtcdCluster) -> None:
    missing = tmp_path / "missing.pem"
    error = await refused(settings_of(lone, ca_path=missing))
    assert isinstance(error, InvalidConfig)
    assert str(missing) in error.message


async def test_tokens_that_run_out_are_renewed_without_anybody_noticing(
    guarded: EtcdCluster,
) -> None:
    settings = settings_of(guarded, username=USER, password=PASSWORD)
    async with running_store(settings) as store:
        first = (await store.transact([], [PutKey(b"a", b"0")])).revision
        async with store.watch(b"a", from_revision=first) as revisions:
            for _ in range(2):
                await done_in_thread(guarded.restart, guarded.members[0])  # forgets all tokens
                await store.transact([], [PutKey(b"a", b"1")])
                lease_id = await store.grant_lease(60_000)
                await store.keep_lease_alive(lease_id)
                await store.revoke_lease(lease_id)
            await asyncio.sleep(1.5)  # nothing but time ends a token
            await store.transact([], [PutKey(b"a", b"2")])
            seen = [await anext(revisions) for _ in range(4)]
    assert [each.events[0].value for each in seen] == [b"0", b"1", b"1", b"2"]


async def test_wrong_credentials_are_told_at_once_and_for_what_they_are(
    guarded: EtcdCluster,
) -> None:
    wrong = await refused(settings_of(guarded, username=USER, password="guessed"))
    assert isinstance(wrong, NotAuthenticated)
    assert "user name with this password" in wrong.message
    nobody = await refused(settings_of(guarded))
    assert isinstance(nobody, NotAuthenticated)
    assert "asks for a user name" in nobody.message
    elsewhere = EtcdSettings.parsed(
        f"{guarded.connect}/of-somebody-else", username=USER, password=PASSWORD
    )
    assert isinstance(await refused(elsewhere), NotAuthorized)


async def test_a_password_changed_meanwhile_is_told_and_everything_works_once_it_is_back(
    guarded: EtcdCluster,
) -> None:
    settings = settings_of(guarded, username=USER, password=PASSWORD)
    async with running_store(settings) as store:
        await done_in_thread(
            lambda: guarded.ctl("user", "passwd", USER, "--interactive=false", given="other")
        )
        await done_in_thread(guarded.restart, guarded.members[0])
        with pytest.raises(NotAuthenticated):
            await store.read(b"")
        await done_in_thread(
            lambda: guarded.ctl("user", "passwd", USER, "--interactive=false", given=PASSWORD)
        )
        assert (await store.transact([], [PutKey(b"a", b"1")])).succeeded


async def test_a_user_with_the_prefix_may_do_all_that_a_controller_cannot_do_without(
    guarded: EtcdCluster,
) -> None:
    await works(settings_of(guarded, username=USER, password=PASSWORD))


async def test_a_user_name_for_an_etcd_that_asks_for_none_does_no_harm(lone: EtcdCluster) -> None:
    await works(settings_of(lone, username=USER, password=PASSWORD))
