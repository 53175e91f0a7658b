"""Row 12: from the start to the listeners, the imports, and memory at rest."""

import statistics
import subprocess
import sys
import time

import anyio
from benchmarks.cores import server_side
from benchmarks.running import Bench, our_server, resident, restart
from benchmarks.tables import Table

IMPORTS = {
    "Python alone": "pass",
    "what we need: uvicorn, starlette, websockets, cryptography": (
        "import uvicorn, starlette.applications, websockets.server, cryptography.fernet"
    ),
    "middlewared and its plugins": (
        "import middlewared.app, middlewared.cli.serve\n"
        "from middlewared.loader import find_plugins\nfind_plugins()"
    ),
}
REST_SECONDS = 1.0


async def run(bench: Bench) -> list[Table]:
    """Measure."""
    lines = []
    for name, code in IMPORTS.items():
        seconds = [_import_seconds(code) for _ in range(bench.rounds)]
        lines.append((name, _show(seconds), ""))
    starts, memory = [], []
    with our_server() as server:
        for _ in range(bench.rounds):
            starts.append(restart(server))
            await anyio.sleep(bench.lasting(REST_SECONDS))
            memory.append(resident(server))
    lines.append(
        (
            "`middlewared serve` to its listeners",
            _show(starts),
            f"{statistics.median(memory):.0f}",
        )
    )
    return [
        Table(
            12,
            "Start, and memory at rest",
            "On data of an earlier start; what the files of the operating system hold "
            "is in memory.",
            ("program", "ms", "resident MiB at rest"),
            lines,
        )
    ]


def _import_seconds(code: str) -> float:
    """Give the milliseconds that a new interpreter takes."""
    with server_side():
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
    return 1000 * (time.perf_counter() - began)


def _show(found: list[float]) -> str:
    return f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})"
