"""Files of jobs in the data directory, found by the number of the job."""

import contextlib
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["JobFiles"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"([1-9][0-9]*)\.(?:log|json|json\.part)")


class JobFiles:
    """Logs and large results of jobs. All of it may block: for threads.

    Args:
        data_dir: the data directory.

    Attributes:
        logs: the folder of logs.
        results: the folder of results that are too large for the database.
    """

    def __init__(self, data_dir: Path) -> None:
        self.logs = data_dir / "logs"
        self.results = data_dir / "results"

    def log(self, number: int) -> Path:
        """Give the path of a job's log."""
        return self.logs / f"{number}.log"

    def result(self, number: int) -> Path:
        """Give the path of a job's large result."""
        return self.results / f"{number}.json"

    def find(self) -> set[int]:
        """Give the numbers of the jobs that have files."""
        found = set()
        for folder in (self.logs, self.results):
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                matches = (_NAME.fullmatch(entry.name) for entry in entries)
                found |= {int(match[1]) for match in matches if match}
        return found

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove the files of jobs, if there are any; what cannot be is logged."""
        for number in numbers:
            result = self.result(number)
            for path in (self.log(number), result, result.with_suffix(".json.part")):
                try:
                    path.unlink(missing_ok=True)
                except OSError as exc:
                    logger.warning("%s cannot be removed: %s", path, exc)
