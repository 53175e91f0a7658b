"""``make bench-counts``: the instructions of a call, an event, a job and a query.

Counts do not depend on who else uses the machine, so that a change that costs a tenth
more is seen at once. They depend on the interpreter: the committed figures are by its
build, and another build has nothing to be compared with. What is counted are two runs,
one with twice the turns of the other: the difference has no beginning and no end.
"""

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import msgspec
from benchmarks.counting import AT_ONCE, EACH, LISTED, SUBSCRIBERS, WORKS
from benchmarks.running import TESTS

__all__ = ["ALLOWED", "Counted", "build", "judge", "main"]

FIGURES = Path(__file__).parent / "counts.json"
#: Turns of the shorter run.
TURNS = {
    "ping": 300,
    "batch": 100,
    "typed": 100,
    "event": 40,
    "job": 40,
    "jobs": 2,
    "query": 20,
}
#: What a figure may grow by.
ALLOWED = 0.1
UNITS = {
    "ping": "a call of core.ping",
    "batch": f"a batch of {EACH} calls of core.ping",
    "typed": "a call with ten typed params and a result of 2 kB",
    "event": f"an event to {SUBSCRIBERS} subscribers",
    "job": "a job that does nothing, to SUCCESS on the disk",
    "jobs": f"{AT_ONCE} of them at once",
    "query": f"a query for the newest {LISTED} jobs in a state",
}
Figures = dict[str, dict[str, int]]


class Counts(msgspec.Struct, frozen=True):
    """The instructions of some work.

    Attributes:
        all: of the whole program.
        loop: of its main thread; the others are the database's.
    """

    all: int
    loop: int


def build() -> str:
    """Name the interpreter: version, compiler, and how it was configured."""
    configured = str(sysconfig.get_config_var("CONFIG_ARGS"))
    digest = hashlib.sha256(configured.encode()).hexdigest()[:8]
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.machine()}, {platform.python_compiler()}, configured {digest}"
    )


class Counted:
    """The program that is counted, under callgrind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [
                "valgrind",
                "--tool=callgrind",
                "--instr-atstart=no",
                "--separate-threads=yes",
                f"--callgrind-out-file={folder}/out",
                "--quiet",
                sys.executable,
                "-m",
                "benchmarks.counting",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"},
        )
        self._expect("ready")
        self._control("--instr=on")

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line == word, f"expected {word!r}, got {line!r}"

    def run(self, name: str, turns: int) -> None:
        """Have some work done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {turns}\n")
        self._process.stdin.flush()
        self._expect("done")

    def count(self, name: str, turns: int) -> Counts:
        """Give the instructions of some work, and of saying that it is done."""
        self._control("--zero")
        self.run(name, turns)
        self._control("--dump")
        # A file for each dump and thread, out.3-01 for example.
        parts = [path.suffix[1:].split("-") for path in self._folder.glob("out.*-*")]
        newest = max(int(dump) for dump, _ in parts)
        found = {
            int(thread): self._total(f"out.{dump}-{thread}")
            for dump, thread in parts
            if int(dump) == newest
        }
        return Counts(sum(found.values()), found[1])

    def _total(self, name: str) -> int:
        text = (self._folder / name).read_text()
        return sum(map(int, re.findall(r"^totals: (\d+)", text, re.MULTILINE)))

    def _control(self, option: str) -> None:
        command = ["callgrind_control", option, str(self._process.pid)]
        subprocess.run(command, check=True, capture_output=True)

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.communicate()


def count_all() -> dict[str, Counts]:
    """Give the instructions of one turn of each work."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="middlewared-bench-") as folder:
        counted = Counted(Path(folder))
        try:
            for name in WORKS:
                turns = TURNS[name]
                counted.run(name, turns)
                once, twice = (counted.count(name, turns * n) for n in (1, 2))
                found[name] = Counts(
                    (twice.all - once.all) // turns, (twice.loop - once.loop) // turns
                )
        finally:
            counted.close()
    return found


def judge(found: dict[str, int], committed: dict[str, int]) -> list[str]:
    """Say, in a sentence each, what costs a tenth more than it did."""
    return [
        f"{UNITS[name]} takes {found[name]:,} instructions, "
        f"{found[name] / was - 1:+.0%} to the committed {was:,}"
        for name, was in committed.items()
        if found[name] > was * (1 + ALLOWED)
    ]


def main() -> int:
    """Count, and compare with the committed figures or write them."""
    parser = argparse.ArgumentParser(prog="make bench-counts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    if shutil.which("valgrind") is None:
        print("valgrind is not installed")
        return 1
    figures: Figures = msgspec.json.decode(FIGURES.read_bytes())
    committed, counted = figures.get(build(), {}), count_all()
    found = {name: counts.all for name, counts in counted.items()}
    for name, count in found.items():
        was = committed.get(name)
        change = "" if was is None else f" ({count / was - 1:+.1%})"
        loop = f"{counted[name].loop:,} of them in the loop"
        print(f"{count:>12,} instructions: {UNITS[name]}{change}, {loop}")
    if not check:
        figures[build()] = found
        written = msgspec.json.format(msgspec.json.encode(figures), indent=2)
        FIGURES.write_bytes(written + b"\n")
        return 0
    if not committed:
        print(f"no figures are committed for {build()}: nothing to compare with")
    worse = judge(found, committed)
    for sentence in worse:
        print(sentence)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
