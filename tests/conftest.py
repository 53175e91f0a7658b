"""Fixtures of all tests: the real program in a process of its own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import missing_programs
from server_process import ServerProcess

# A shell that runs us in the background ignores Ctrl-C, and what we start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    """Run the real program on 127.0.0.1, port 0, with an account ``admin``."""
    with ServerProcess(tmp_path / "data") as server:
        yield server


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Deselect tests whose program is missing here, and say so at the end."""
    missing = missing_programs()
    gone = [item for item in items if any(item.get_closest_marker(m) for m in missing)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
        marked = {m for m in missing if any(i.get_closest_marker(m) for i in gone)}
        config.stash[_MISSING] = [missing[m] for m in sorted(marked)]


_MISSING = pytest.StashKey[list[str]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what is missing, in one line."""
    missing = config.stash.get(_MISSING, [])
    if missing:
        terminalreporter.write_line(f"NOT RUN, missing here: {', '.join(missing)}")
