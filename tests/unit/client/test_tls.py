"""`Tls` as users write it: what it reads, and what it refuses by name."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from ottla import Admin, Consumer, Producer, Tls
from ottla.client.tls import PEM_SIZE_MAX, read_tls
from ottla.protocol.errors import InvalidConfig

PEMS = Path(__file__).parents[2] / "kit" / "tls"
CA, CERTIFICATE, KEY = (str(PEMS / name) for name in ("ca.pem", "client.pem", "client.key"))


def test_files_are_read_as_they_are() -> None:
    read = read_tls(Tls(ca_file=CA, certificate_file=CERTIFICATE, key_file=KEY))
    assert read.ca == Path(CA).read_bytes()
    assert read.certificate == Path(CERTIFICATE).read_bytes()
    assert read.key == Path(KEY).read_bytes()
    assert read_tls(Tls()) == (None, None, None)


@pytest.mark.parametrize(
    "given",
    [{"certificate_file": CERTIFICATE}, {"key_file": KEY}, {"server_name": ""}],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidConfig, match="tls: "):
        Tls(**given)


def refused(tls: Tls) -> str:
    with pytest.raises(InvalidConfig) as caught:
        read_tls(tls)
    return caught.value.message


def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    missing, text, large = (str(tmp_path / name) for name in ("missing", "text", "large"))
    Path(text).write_text("no certificate")
    Path(large).write_bytes(b"x" * (PEM_SIZE_MAX + 1))
    assert refused(Tls(ca_file=missing)) == (
        f"tls: ca_file {missing!r} can't be read: No such file or directory"
    )
    assert refused(Tls(ca_file=str(tmp_path))).endswith("Is a directory")
    assert refused(Tls(ca_file="nul\0")).startswith("tls: ca_file 'nul\\x00' can't be read")
    assert refused(Tls(ca_file=text)) == f"tls: ca_file {text!r} is not a PEM file"
    assert refused(Tls(ca_file=large)).endswith(f"is larger than {PEM_SIZE_MAX} bytes")
    assert f"ca_file {KEY!r} holds no certificates" in refused(Tls(ca_file=KEY))


def test_a_certificate_and_a_key_must_belong_together() -> None:
    other = str(PEMS / "server.key")
    message = refused(Tls(certificate_file=CERTIFICATE, key_file=other))
    assert CERTIFICATE in message
    assert other in message
    assert "no pair" in message


ENCRYPTED_KEY = """
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhtGoOZhCQ7uAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEFYPVGbrFVAH4RSk4VOXDQMEgZA9
/KritWWLurEun2YdKeme1gnhNs6RS80RbRp9YkZQSHqRinfejeDCoDt8ZP/x1PKM
4dy/yTzbcf7qqJl1VEEJtFOwHa6cOjKBweEw8RazKIe4b511VGvBqEOyArNy/ICD
5N1pLIwnUeWV4eCrwEY8eF1yTBwCkRigLgRPmhoo7D0OB06x/HlH6lAPVGVp4C0=
-----END ENCRYPTED PRIVATE KEY-----
"""
"""`client.key` under a password."""


def test_an_encrypted_key_is_refused_without_asking_anybody(tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_text(ENCRYPTED_KEY)
    message = refused(Tls(certificate_file=CERTIFICATE, key_file=str(encrypted)))
    assert "unencrypted key" in message


async def test_files_are_read_when_a_client_is_opened_and_not_before(tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.pem")
    for client in (
        Producer("127.0.0.1:1", tls=Tls(ca_file=missing)),
        Consumer("127.0.0.1:1", tls=Tls(ca_file=missing)),
        Admin("127.0.0.1:1", tls=Tls(ca_file=missing)),
    ):
        with pytest.raises(InvalidConfig, match="can't be read"):
            await client.open()
    await asyncio.to_thread(shutil.copy, CA, missing)
    async with Admin("127.0.0.1:1", tls=Tls(ca_file=missing)):
        pass
