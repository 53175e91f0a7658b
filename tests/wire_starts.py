"""Many short runs of ``middlewared``, without the time that importing it takes.

Run as a program, it imports everything once and then forks for each line on its
standard input: the child is the real program, with its own arguments, environment,
output and exit code.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple, Self

__all__ = ["Done", "Starts", "shared_starts"]


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
        self.close()

    def close(self) -> None:
        """End the process that forks."""
        self._process.communicate(timeout=20)

    def run(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        input_text: str | None = None,
    ) -> Done:
        """Run ``middlewared`` with these arguments until it ends.

        Args:
            arguments: the words after the program's name.
            environment: besides that of this process.
            input_text: what is on its standard input.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        whole = os.environ | (environment or {})
        process.stdin.write(json.dumps([arguments, whole, input_text or ""]) + "\n")
        process.stdin.flush()
        return Done(*json.loads(process.stdout.readline()))


@functools.cache
def shared_starts() -> Starts:
    """Give the one that all tests of this process may use; it ends with it."""
    starts = Starts()
    atexit.register(starts.close)
    return starts


def _run_child(arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    from middlewared.cli import main  # noqa: PLC0415 - the child's business

    for number in range(3):
        name = folder / str(number)
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
    os.environ.clear()
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
        arguments, environment, text = json.loads(line)
        with tempfile.TemporaryDirectory() as name:
            Path(name, "0").write_text(text)
            child = os.fork()
            if not child:
                _run_child(arguments, environment, Path(name))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = [Path(name, number).read_text() for number in "12"]
        sys.stdout.write(json.dumps([code, *texts]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
