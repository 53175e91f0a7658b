"""The limit on open files, in a process of its own."""

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import logging, resource
from middlewared.openfiles import raise_limit
from middlewared.settings import Settings
logging.basicConfig()
raise_limit(Settings(data_dir="/nowhere", max_connections=2000))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "after", "warned"),
    [
        (1024, 4096, 3000, False),
        (1024, 3000, 3000, False),
        (1024, 2000, 2000, False),
        (1024, 1999, 1999, True),
        (3500, 4096, 3500, False),
        (500, 500, 500, True),
    ],
)
def test_limit_is_raised_as_far_as_needed_and_allowed(
    soft: int, hard: int, after: int, warned: bool
) -> None:
    """Never lowered; when it is not enough, the log says so once."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == after
    assert ("max_connections (2000) is out of reach" in done.stderr) is warned
