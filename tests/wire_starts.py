"""Many short runs of ``middlewared``, without the time that importing it takes.

Run as a program, it imports everything once and then forks for each line on its
standard input: the child is the real program, with its own arguments, environment,
output and exit code.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple, Self

__all__ = ["Done", "Starts"]


class Done(NamedTuple):
    """How a run ended."""

    returncode: int
    stdout: str
    stderr: str


class Starts:
    """The program, ready to be forked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> Done:
        """Run ``middlewared`` with these arguments until it ends."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([arguments, environment or {}]) + "\n")
        process.stdin.flush()
        return Done(*json.loads(process.stdout.readline()))


def _run_child(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    from middlewared.cli import main  # noqa: PLC0415 - the child's business

    for number, name in ((0, "/dev/null"), (1, folder / "1"), (2, folder / "2")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.environ.update(environment)
    sys.argv = ["middlewared", *arguments]
    try:
        main()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001 - what the interpreter does at its end
        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve() -> None:
    import middlewared.app  # noqa: PLC0415 - only here
    import middlewared.cli.serve  # noqa: PLC0415 - only here
    from middlewared.loader import find_plugins  # noqa: PLC0415 - only here

    find_plugins()
    middlewared.app.loop_options()
    for line in sys.stdin:
        arguments, environment = json.loads(line)
        with tempfile.TemporaryDirectory() as name:
            child = os.fork()
            if not child:
                _run_child(arguments, environment, Path(name))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [Path(name, number).read_text() for number in "12"]
        sys.stdout.write(json.dumps([code, *texts]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
