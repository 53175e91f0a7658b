"""``make bench``: the whole table into ``docs/performance.md``, or some rows of it.

Ratios of CPU time between programs that ran in turn say more than seconds of the
clock, which depend on the machine. Medians of five rounds.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

import anyio
from benchmarks.cores import pin_load
from benchmarks.page import write_page
from benchmarks.running import Bench
from benchmarks.tables import Table, markdown

from middlewared.app import loop_options

__all__ = ["ROWS", "main", "run_row"]

ROWS = list(range(1, 13))
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def run_row(number: int, bench: Bench) -> list[Table]:
    """Run a row."""
    module = importlib.import_module(f"benchmarks.row{number:02}")
    found: list[Table] = anyio.run(module.run, bench, backend_options=loop_options())
    return found


def main() -> None:
    """Run what is asked for, and print it; all rows are written down, too."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", choices=[*ROWS, []])
    parser.add_argument("--rounds", type=int, default=Bench().rounds)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    pin_load()
    bench, tables = Bench(arguments.rounds, arguments.scale), list[Table]()
    for number in arguments.rows or ROWS:
        began = time.monotonic()
        found = run_row(number, bench)
        tables += found
        text = "\n".join(markdown(table) for table in found)
        sys.stdout.write(f"{text}\n({time.monotonic() - began:.0f} s)\n\n")
        sys.stdout.flush()
    if not arguments.rows:
        write_page(PAGE, tables)


if __name__ == "__main__":
    main()
