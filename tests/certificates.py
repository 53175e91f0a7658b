"""Certificates for tests, made on the spot."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Pair", "make_pair"]

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


class Pair(NamedTuple):
    """A certificate and its key, as files and in memory."""

    certificate: Path
    key: Path
    x509: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate as a client sees it."""
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def settings(self) -> dict[str, Any]:
        """What a server is told."""
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the command line is told."""
        return (
            "--tls-certificate",
            str(self.certificate),
            "--tls-key",
            str(self.key),
        )

    def trust(self) -> ssl.SSLContext:
        """Make a client's context that trusts this certificate only."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_pair(
    folder: Path,
    name: str = "server",
    *,
    key: Any = None,
    algorithm: Any = hashes.SHA256(),  # noqa: B008 - immutable
    days: int = 30,
    passphrase: bytes | None = None,
    **signing: Any,
) -> Pair:
    """Write a self-signed certificate for localhost and 127.0.0.1, and its key.

    Args:
        folder: where to.
        name: of the files, and what tells certificates apart.
        key: private key; a new one on P-256 by default.
        algorithm: hash of the signature; None for keys that have their own.
        days: until it expires; negative when it has.
        passphrase: of the key's file.
        signing: further arguments of the signature.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    local = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=365))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(local), critical=False)
        .sign(key, algorithm, **signing)
    )
    protection = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(PEM))
    paths[1].write_bytes(key.private_bytes(PEM, PKCS8, protection))
    return Pair(*paths, certificate)
