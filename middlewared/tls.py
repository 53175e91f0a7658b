"""The certificate of the port: loaded, checked, and replaced while the server runs."""

import hashlib
import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
)

from middlewared.errors import SettingsError

__all__ = ["Tls", "end_point_of"]

logger = logging.getLogger(__name__)

#: Hashes that RFC 5929, section 4.1, replaces by SHA-256.
_BROKEN = frozenset({"md5", "sha1"})

_Stamp = tuple[tuple[int, int, int] | None, ...]


class _Context(ssl.SSLContext):
    """A TLS context that knows the certificate it shows.

    Attributes:
        end_point: see `end_point_of`.
        not_after: when the certificate's time is over.
    """

    end_point: bytes | None
    not_after: datetime


def end_point_of(tls_object: ssl.SSLObject | None) -> bytes | None:
    """Give the channel binding ``tls-server-end-point`` of a connection.

    The hash of the certificate that this connection was shown (RFC 5929, section 4).

    Args:
        tls_object: of the transport; None without TLS.

    Returns:
        None without TLS, and for certificates whose signature names no single hash,
        such as Ed25519.
    """
    return getattr(tls_object and tls_object.context, "end_point", None)


class Tls:
    """The certificate and key that the port uses.

    Each connection takes the newest certificate when it begins and keeps it: a reload
    drops nobody.

    Args:
        certificate: PEM file with the certificate, followed by its chain.
        key: PEM file with the private key, without a passphrase.

    Attributes:
        context: what listeners are given.

    Raises:
        SettingsError: a file is missing or unfit; one clear sentence.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = self._look()
        self._current = _load(certificate, key)
        self.context = _new_context()
        self.context.sni_callback = self._choose
        self._tell("uses")

    @property
    def not_after(self) -> datetime:
        """When the current certificate's time is over."""
        return self._current.not_after

    def reload(self) -> None:
        """Read the files again; new connections get what is in them now.

        Blocks for a moment; may run in a thread.

        Raises:
            SettingsError: they cannot be used; the certificate in use stays.
        """
        self._stamp = self._look()
        self._current = _load(self._certificate, self._key)
        self._tell("now uses")

    def reload_if_changed(self) -> bool:
        """Read the files again if they are others than at the last attempt.

        Files that cannot be used are logged once; when they change, they are tried
        again. Blocks for a moment; may run in a thread.

        Returns:
            True when there is a new certificate.
        """
        if self._look() == self._stamp:
            return False
        try:
            self.reload()
        except SettingsError as exc:
            logger.warning("the certificate in use stays: %s", exc)
            return False
        return True

    def _choose(
        self, tls_object: ssl.SSLObject | ssl.SSLSocket, _name: str, _base: object
    ) -> None:
        """Give a connection the newest certificate, whatever name it asks for."""
        tls_object.context = self._current

    def _look(self) -> _Stamp:
        return tuple(_stamp(path) for path in (self._certificate, self._key))

    def _tell(self, what: str) -> None:
        until = self.not_after.date().isoformat()
        logger.info("the port %s %s, good until %s", what, self._certificate, until)
        if self.not_after <= datetime.now(UTC):
            logger.warning("the certificate in %s has expired", self._certificate)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _new_context() -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(certificate: Path, key: Path) -> _Context:
    """Make a context from two files.

    Raises:
        SettingsError: see `Tls`.
    """
    pem = _read("tls_certificate", certificate)
    secret = _read("tls_key", key)
    shown = _parse_certificate(certificate, pem)
    _check_key(key, secret)
    context = _new_context()
    try:
        # The password is never used; without it OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as exc:
        raise SettingsError(
            f"tls_key {str(key)!r} does not fit tls_certificate "
            f"{str(certificate)!r}: {_reason(exc)}"
        ) from None
    if _read("tls_certificate", certificate) != pem:
        raise SettingsError(
            f"tls_certificate {str(certificate)!r} changed while it was read"
        )
    context.end_point = _end_point(shown)
    context.not_after = shown.not_valid_after_utc
    return context


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{setting} {str(path)!r}: {exc.strerror}") from None


def _parse_certificate(path: Path, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise SettingsError(
            f"tls_certificate {str(path)!r} holds no certificate in PEM form"
        ) from None


def _check_key(path: Path, pem: bytes) -> None:
    try:
        load_pem_private_key(pem, password=None)
    except TypeError:
        raise SettingsError(
            f"tls_key {str(path)!r} has a passphrase, expected a key without one"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            f"tls_key {str(path)!r} holds no private key in PEM form"
        ) from None


def _reason(exc: Exception) -> str:
    reason = getattr(exc, "reason", None)
    return reason.lower().replace("_", " ") if isinstance(reason, str) else str(exc)


def _end_point(certificate: x509.Certificate) -> bytes | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in _BROKEN else algorithm.name
    der = certificate.public_bytes(Encoding.DER)
    return hashlib.new(name, der).digest()
