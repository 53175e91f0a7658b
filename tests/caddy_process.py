"""A real Caddy in front of a server, with the configuration of docs/operations.md."""

import os
import subprocess
from pathlib import Path
from typing import Self

from certificates import Pair
from nginx_process import PATIENCE, documented, free_port, wait_until_it_listens
from programs import find_caddy

__all__ = ["Caddy"]

#: What Caddy does for a machine of its own, and a test must not.
FRAME = """
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
}}
{documented}
"""


class Caddy:
    """Caddy on a free port of 127.0.0.1, with TLS.

    Attributes:
        port: where it listens.
        url: where the server is, to its clients.
    """

    def __init__(self, folder: Path, pair: Pair, server_port: int) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}/jobs"
        block = documented("caddy")
        tls = f"tls {pair.certificate} {pair.key}"
        for old, new in {
            "jobs.example.org {": f"https://127.0.0.1:{self.port} {{\n    {tls}",
            "127.0.0.1:8420": f"127.0.0.1:{server_port}",
        }.items():
            assert old in block
            block = block.replace(old, new)
        self._config = folder / "Caddyfile"
        self._config.write_text(FRAME.format(documented=block))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = find_caddy()
        assert program is not None
        home = str(self._config.parent)
        own = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
        command = [program, "run", "--adapter", "caddyfile", "--config"]
        self._process = subprocess.Popen(
            [*command, str(self._config)],
            env=os.environ | own,
            stderr=subprocess.DEVNULL,
        )
        wait_until_it_listens(self._process, self.port)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)
