"""A real nginx in front of a server, with the configuration of docs/operations.md."""

import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from certificates import Pair
from programs import find_nginx

__all__ = ["PATIENCE", "Nginx", "documented", "free_port", "wait_until_it_listens"]

DOCS = Path(__file__).parent.parent / "docs"
PATIENCE = 20.0

#: What surrounds the documented part; everything is written below one folder.
FRAME = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {documented}
}}
"""


def documented(kind: str) -> str:
    """Give the block of this language in docs/operations.md."""
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)
    return str(block)


def free_port() -> int:
    """Give a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a program that was just started takes connections."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "it did not start"
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.02)
        else:
            return


class Nginx:
    """nginx on a free port of 127.0.0.1, with TLS.

    Attributes:
        port: where it listens.
        url: where the server is, to its clients.
    """

    def __init__(self, folder: Path, pair: Pair, server_port: int) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}/jobs"
        block = documented("nginx")
        for old, new in {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "jobs.example.org": "localhost",
            "/etc/ssl/jobs/fullchain.pem": str(pair.certificate),
            "/etc/ssl/jobs/privkey.pem": str(pair.key),
            "http://127.0.0.1:8420": f"http://127.0.0.1:{server_port}",
        }.items():
            assert old in block
            block = block.replace(old, new)
        self._config = folder / "nginx.conf"
        self._config.write_text(FRAME.format(folder=folder, documented=block))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = find_nginx()
        assert program is not None
        folder = str(self._config.parent)
        self._process = subprocess.Popen(
            [program, "-e", "stderr", "-p", folder, "-c", str(self._config)]
        )
        wait_until_it_listens(self._process, self.port)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)
