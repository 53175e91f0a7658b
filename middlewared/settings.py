"""One frozen table of settings: from TOML, ``MIDDLEWARED_*`` variables and flags."""

import functools
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from middlewared.basepath import check_base_path
from middlewared.errors import SettingsError

__all__ = [
    "PREFIX",
    "SOCKET",
    "Settings",
    "decode_table",
    "default_data_dir",
    "load_settings",
]

PREFIX = "MIDDLEWARED_"
#: Name of the unix socket in the data directory.
SOCKET = "middlewared.sock"
T = TypeVar("T")

Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def default_data_dir() -> Path:
    """Say where the server keeps its data when nobody says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/middlewared")
    return Path("~/.local/share/middlewared").expanduser()


def _networks(setting: str, texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(_network(setting, text) for text in texts)


def _network(setting: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise SettingsError(
            f"{setting} has {text!r}, expected an IP address or a network such as "
            "10.0.0.0/8"
        ) from None


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True
):
    """What the kernel can be told; plugins have tables of their own."""

    data_dir: Annotated[
        str, Meta(description="Folder of the database, the logs and the unix socket.")
    ] = msgspec.field(default_factory=lambda: str(default_data_dir()))
    listen: Annotated[
        str, Meta(description="HOST:PORT to listen on; port 0 takes a free one.")
    ] = "127.0.0.1:8420"
    unix: Annotated[
        str | None,
        Meta(description="Path of the unix socket; middlewared.sock in data_dir."),
    ] = None
    plugins_dir: Annotated[
        str | None, Meta(description="Folder with further middlewared_* plugins.")
    ] = None
    tls_certificate: Annotated[
        str | None,
        Meta(description="PEM file of the certificate and its chain; the port is TLS."),
    ] = None
    tls_key: Annotated[
        str | None,
        Meta(description="PEM file of the private key; by default tls_certificate."),
    ] = None
    hsts_max_age: Annotated[
        int,
        Meta(
            ge=0,
            description="Seconds browsers shall insist on TLS for this name; 0: never.",
        ),
    ] = 31_536_000
    insecure: Annotated[
        bool,
        Meta(description="Allow a public address without TLS, and logins over it."),
    ] = False
    behind_proxy: Annotated[
        bool, Meta(description="A proxy in front speaks TLS: allow a public address.")
    ] = False
    base_path: Annotated[
        str, Meta(description="Path in front of all others, such as /jobs.")
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks of proxies whose X-Forwarded-For and "
            "X-Forwarded-Proto count."
        ),
    ] = ()
    remote_user_header: Annotated[
        str | None,
        Meta(
            description="Header in which a trusted proxy says which account a client "
            "is logged in as."
        ),
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of browser pages besides the server's own."),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Host names besides IP addresses, localhost and listen."),
    ] = ()
    allowed_clients: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks that clients may come from, besides "
            "this machine; none means all."
        ),
    ] = ()
    log_level: Annotated[
        str,
        Meta(
            description="debug, info, warning or error.",
            pattern="^(debug|info|warning|error)$",
        ),
    ] = "info"
    max_calls: Annotated[
        Positive, Meta(description="Calls in flight of one connection.")
    ] = 1000
    max_undispatched: Annotated[
        Positive,
        Meta(description="Bytes of batches that wait their turn on one connection."),
    ] = 8 * 2**20
    max_connections: Annotated[
        Positive, Meta(description="WebSocket connections at one time.")
    ] = 20_000
    max_message: Annotated[
        Positive, Meta(description="Bytes of a message after login.")
    ] = 2 * 2**20
    max_anonymous_message: Annotated[
        Positive, Meta(description="Bytes of a message before login.")
    ] = 8192
    max_address_connections: Annotated[
        Positive,
        Meta(description="Connections of one address; this machine's own have no end."),
    ] = 1000
    max_user_connections: Annotated[
        Positive,
        Meta(description="Connections of one account; full admins' have no end."),
    ] = 1000
    max_address_subscriptions: Annotated[
        Positive,
        Meta(description="Subscriptions of one address; as for connections."),
    ] = 10_000
    max_user_subscriptions: Annotated[
        Positive,
        Meta(description="Subscriptions of one account; as for connections."),
    ] = 10_000
    max_subscriptions: Annotated[
        Positive, Meta(description="Subscriptions of one connection.")
    ] = 1000
    send_queue_limit: Annotated[
        Positive,
        Meta(description="Bytes waiting for one client before it is disconnected."),
    ] = 64 * 2**20
    send_total_limit: Annotated[
        Positive,
        Meta(
            description="Bytes waiting for all clients before those with the most are "
            "disconnected."
        ),
    ] = 2**30
    send_stall: Annotated[
        Seconds,
        Meta(description="Seconds a client may take no byte while some wait for it."),
    ] = 10.0
    ping_interval: Annotated[
        Seconds, Meta(description="Seconds of silence after which a client is pinged.")
    ] = 20.0
    ping_timeout: Annotated[
        Seconds, Meta(description="Seconds a pinged client has to show a sign of life.")
    ] = 20.0
    head_timeout: Annotated[
        Seconds, Meta(description="Seconds a client has to send an HTTP request head.")
    ] = 10.0
    close_timeout: Annotated[
        Seconds, Meta(description="Seconds a closing handshake may take.")
    ] = 1.5
    anonymous_calls: Annotated[
        Positive,
        Meta(
            description="Calls of one method per address and minute before login; this "
            "machine's own have no end."
        ),
    ] = 600
    login_attempts: Annotated[
        Positive, Meta(description="Failed logins per address and minute.")
    ] = 20
    sync_threads: Annotated[
        Positive, Meta(description="Threads for methods that are plain functions.")
    ] = 16
    shutdown_grace: Annotated[
        Seconds, Meta(description="Seconds running jobs may take after SIGTERM.")
    ] = 25.0
    interrupt_grace: Annotated[
        Seconds, Meta(description="Seconds running jobs may take after Ctrl-C.")
    ] = 3.0
    unload_grace: Annotated[
        Seconds,
        Meta(
            description="Seconds the plugins may take together to end; then the "
            "process ends without them."
        ),
    ] = 10.0
    #: Tables of plugins, by plugin name, as the file and the environment gave them.
    tables: dict[str, dict[str, Any]] = {}

    def __post_init__(self) -> None:
        host, port = self.listen_address
        if not 0 <= port <= 65535 or not host:  # noqa: PLR2004 - ports end there
            raise SettingsError(f"listen is {self.listen!r}, expected HOST:PORT")
        check_base_path(self.base_path)
        _ = self.allowed_networks  # read now, so that mistakes show at the start
        if not self.trusted_networks and self.remote_user_header:
            raise SettingsError(
                f"remote_user_header is {self.remote_user_header!r}, but there are no "
                "trusted_proxies that may send it"
            )
        if self.tls_key is not None and self.tls_certificate is None:
            raise SettingsError(
                f"tls_key is {self.tls_key!r}, but there is no tls_certificate"
            )
        if len(os.fsencode(self.socket_path)) > UNIX_PATH_LIMIT:
            raise SettingsError(
                f"the unix socket path {str(self.socket_path)!r} has "
                f"{len(os.fsencode(self.socket_path))} bytes, the system allows "
                f"{UNIX_PATH_LIMIT}; choose a shorter one with --unix"
            )

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host and port to listen on; IPv6 hosts without their brackets."""
        host, _, port = self.listen.rpartition(":")
        try:
            return host.removeprefix("[").removesuffix("]"), int(port)
        except ValueError:
            raise SettingsError(
                f"listen is {self.listen!r}, expected HOST:PORT"
            ) from None

    @functools.cached_property
    def trusted_networks(self) -> tuple[Network, ...]:
        """Where trusted proxies are."""
        return _networks("trusted_proxies", self.trusted_proxies)

    @functools.cached_property
    def allowed_networks(self) -> tuple[Network, ...]:
        """Where clients may be."""
        return _networks("allowed_clients", self.allowed_clients)

    @property
    def tls_paths(self) -> tuple[Path, Path] | None:
        """Files of the certificate and of its key, None without TLS."""
        if self.tls_certificate is None:
            return None
        certificate = Path(self.tls_certificate).expanduser()
        key = Path(self.tls_key or self.tls_certificate).expanduser()
        return certificate.absolute(), key.absolute()

    @property
    def data_path(self) -> Path:
        """The data directory."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def socket_path(self) -> Path:
        """Path of the unix socket."""
        if self.unix is not None:
            return Path(self.unix).expanduser().absolute()
        return self.data_path / SOCKET


#: Bytes of a unix socket path, without the final NUL (unix(7)).
UNIX_PATH_LIMIT = 107


def decode_table(
    table: Mapping[str, Any],
    kind: type[T],
    *,
    name: str,
    places: Mapping[str, str] | None = None,
) -> T:
    """Decode one table of settings into its struct.

    Args:
        table: keys and values.
        kind: the struct.
        name: of the table, for errors.
        places: where a key was set, by key, when not in *name*.

    Raises:
        SettingsError: a key is unknown or a value does not fit; names both.
    """
    try:
        return msgspec.convert(dict(table), kind, strict=False)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$.")
        if not path:
            raise SettingsError(f"setting in {name}: {text}") from None
        key = re.split(r"[.\[]", path.rstrip("`"), maxsplit=1)[0]
        place = (places or {}).get(key, name)
        raise SettingsError(
            f"setting {path.rstrip('`')} in {place} is {table.get(key)!r}: {text}"
        ) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(f"settings file {str(path)!r}: {exc.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"settings file {str(path)!r}: {exc}") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Collect ``MIDDLEWARED_X`` and ``MIDDLEWARED_PLUGIN__X``."""
    lists = {
        "allowed_clients",
        "allowed_hosts",
        "allowed_origins",
        "trusted_proxies",
    }
    found: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        key = variable.removeprefix(PREFIX).lower()
        table, _, rest = key.partition("__")
        if rest:
            found.setdefault(table, {})[rest] = text
        elif key in Settings.__struct_fields__ and key != "tables":
            found[key] = [t for t in text.split(",") if t] if key in lists else text
    return found


def _is_table(key: str, value: Any) -> bool:
    return isinstance(value, dict) and key not in Settings.__struct_fields__


def load_settings(
    *,
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings: defaults, then the file, the environment, the flags.

    Args:
        config: the TOML file; kernel settings at its top, a table per plugin.
        overrides: what flags said; None values are ignored.
        environ: the environment; the process's own by default. Variables that name
            no setting are ignored, since the command line has some of its own.

    Raises:
        SettingsError: unreadable file, unknown key or unfitting value.
    """
    values: dict[str, Any] = {} if config is None else _read_file(config)
    if "tables" in values:
        raise SettingsError(
            f"setting in {config}: Object contains unknown field `tables`"
        )
    tables = {k: dict(v) for k, v in values.items() if _is_table(k, v)}
    values = {k: v for k, v in values.items() if not _is_table(k, v)}
    places = {}
    for key, value in _read_environment(
        os.environ if environ is None else environ
    ).items():
        if isinstance(value, dict):
            tables.setdefault(key, {}).update(value)
        else:
            values[key] = value
            places[key] = f"{PREFIX}{key.upper()}"
    flags = {k: v for k, v in (overrides or {}).items() if v is not None}
    values |= flags
    places |= dict.fromkeys(flags, "the flags")
    values["tables"] = tables
    return decode_table(
        values, Settings, name=str(config or "the settings"), places=places
    )
