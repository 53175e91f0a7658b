"""A small program that stands for restic: the same words, variables and exit codes.

It keeps real copies of real files, one folder per snapshot. Run as a script.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["main"]

#: Exit codes of restic(1).
INCOMPLETE, NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 3, 10, 11, 12


def fail(code: int, text: str) -> NoReturn:
    """End with a message."""
    sys.stderr.write(f"Fatal: {text}\n")
    raise SystemExit(code)


def password() -> str:
    """Read the password where restic does."""
    path = os.environ.get("RESTIC_PASSWORD_FILE")
    if path is None:
        fail(1, "no password given")
    return Path(path).read_text().rstrip("\n")


class Repository:
    """A folder with a password and snapshots."""

    def __init__(self) -> None:
        self.folder = Path(os.environ["RESTIC_REPOSITORY"])
        self._key = self.folder / "key"
        if not self._key.exists():
            fail(NO_REPOSITORY, f"repository {self.folder} does not exist")
        if self._key.read_text() != password():
            fail(WRONG_PASSWORD, "wrong password or no key found")

    def snapshots(self) -> list[dict[str, Any]]:
        """List the snapshots, oldest first."""
        found = [json.loads(p.read_text()) for p in self.folder.glob("*.json")]
        return sorted(found, key=lambda snapshot: str(snapshot["time"]))

    def add(self, paths: list[str], tags: list[str]) -> int:
        """Copy files into a new snapshot; give the exit code."""
        number = f"{time.time_ns():x}"
        files = [f for p in paths for f in sorted(Path(p).rglob("*")) if f.is_file()]
        failed = [path for path in paths if not Path(path).exists()]
        for done, file in enumerate(files):
            target = self.folder / number / file.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
            share = (done + 1) / len(files)
            tell("status", percent_done=share, current_files=[str(file)])
            time.sleep(float(os.environ.get("PACE", "0")))
        snapshot = {
            "short_id": number[:8],
            "id": number,
            "time": dt.datetime.now(dt.UTC).isoformat(),
            "paths": paths,
            "tags": tags,
        }
        (self.folder / f"{number}.json").write_text(json.dumps(snapshot))
        for path in failed:
            sys.stderr.write(f"error: lstat {path}: no such file or directory\n")
        tell("summary", files_new=len(files), snapshot_id=number)
        return INCOMPLETE if failed else 0

    def forget(self, keep: int) -> None:
        """Remove all snapshots but the last ones."""
        for snapshot in self.snapshots()[:-keep]:
            shutil.rmtree(self.folder / snapshot["id"], ignore_errors=True)
            (self.folder / f"{snapshot['id']}.json").unlink()
            sys.stdout.write(f"removed snapshot {snapshot['short_id']}\n")


def tell(kind: str, **what: Any) -> None:
    """Write a line of JSON, as ``--json`` does."""
    line = json.dumps({"message_type": kind, **what}, separators=(",", ":"))
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def locked(repository: Repository) -> Path:
    """Lock a repository for this process."""
    lock = repository.folder / "lock"
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        fail(LOCKED, "unable to create lock in backend: repository is already locked")
    return lock


def main() -> int:
    """Do what the words say; give the exit code."""
    parser = argparse.ArgumentParser(prog="restic")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init")
    backup = commands.add_parser("backup")
    backup.add_argument("--json", action="store_true")
    backup.add_argument("--tag", action="append", default=[])
    backup.add_argument("paths", nargs="+")
    forget = commands.add_parser("forget")
    forget.add_argument("--prune", action="store_true")
    forget.add_argument("--keep-last", type=int, required=True)
    commands.add_parser("snapshots").add_argument("--json", action="store_true")
    words = parser.parse_args()
    if words.command == "init":
        folder = Path(os.environ["RESTIC_REPOSITORY"])
        folder.mkdir(parents=True)
        (folder / "key").write_text(password())
        return 0
    repository = Repository()
    if words.command == "snapshots":
        sys.stdout.write(json.dumps(repository.snapshots()))
        return 0
    lock = locked(repository)
    try:
        if words.command == "backup":
            return repository.add(words.paths, words.tag)
        repository.forget(words.keep_last)
        return 0
    finally:
        lock.unlink()


if __name__ == "__main__":
    sys.exit(main())
