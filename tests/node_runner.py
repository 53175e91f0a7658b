"""Files of tests in Node: how they are run, and how they restart their server."""

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server_process import ADMIN_PASSWORD, ServerProcess

__all__ = ["restart_control", "run_file"]


@contextmanager
def restart_control(server: ServerProcess) -> Iterator[str]:
    """Let tests in Node restart the server: POST /restart to this address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Do what the path says."""
            {"/restart": server.restart}[self.path]()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing: the output belongs to the tests in Node."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()
        thread.join()


def run_file(file: Path, server: ServerProcess, control: str) -> None:
    """Run one file of tests; what it says is shown when one fails."""
    environment = {
        **os.environ,
        "MIDDLEWARED_WS_URL": server.ws_url,
        "MIDDLEWARED_PASSWORD": ADMIN_PASSWORD,
        "MIDDLEWARED_CONTROL": control,
    }
    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec", file.name],
        cwd=file.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
