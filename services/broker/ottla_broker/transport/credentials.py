"""What a TLS port needs: certificate, key, and perhaps a client CA, as files.

Owns the making of the `ssl.SSLContext`; the handshake belongs to the connection.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsCredentials:
    """Files in PEM form.

    With `client_ca_file` a client may show a certificate of that authority, and must when
    `client_certificate_required`.
    """

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_certificate_required: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """A server context for TLS 1.2 and later that offers HTTP/2 by ALPN.

        Raises:
            ValueError: client certificates are required without an authority to check them.
            OSError: a file is missing or is not what it should be (`ssl.SSLError` is one).
        """
        if self.client_certificate_required and self.client_ca_file is None:
            raise ValueError("client_certificate_required needs client_ca_file")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        # HTTP/2 forbids it (RFC 9113, 9.2.1).
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.load_cert_chain(self.certificate_file, self.key_file)
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
            required = self.client_certificate_required
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context
