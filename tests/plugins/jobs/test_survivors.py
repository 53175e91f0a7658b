"""What a dead server left running is ended, what only looks like it is spared."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_table import is_running, wait_ended

from middlewared_jobs.survivors import CHILD_OF, birth_of, end_session, end_survivors

#: Starts a process in the same group, one in a group of its own, and says both.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
one = subprocess.Popen(["sleep", "60"])
two = subprocess.Popen(["sleep", "60"], process_group=0)
print(one.pid, two.pid, flush=True)
if sys.argv[1:] == ["leave"]:
    os._exit(0)
time.sleep(60)
"""


class Family:
    """A session of processes: a leader and two that it started."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.leader = subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", FAMILY, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {CHILD_OF: str(data_dir)},
        )
        self.pid = self.leader.pid
        self.birth = birth_of(self.pid) or ""
        assert self.leader.stdout is not None
        self.others = [int(text) for text in self.leader.stdout.readline().split()]
        self.leader.stdout.close()

    def end(self) -> None:
        """Kill all of it."""
        for pid in (self.pid, *self.others):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.leader.wait()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """Give a session whose leader lives."""
    found = Family(tmp_path)
    yield found
    found.end()


@pytest.fixture
def orphans(tmp_path: Path) -> Iterator[Family]:
    """Give a session whose leader has gone."""
    found = Family(tmp_path, "leave")
    found.leader.wait()
    yield found
    found.end()


def test_a_session_ends_whole(family: Family) -> None:
    """The leader, its group and other groups of its session are killed."""
    end_session(family.pid)
    assert family.leader.wait(10) == -signal.SIGKILL
    assert wait_ended(family.others)


def test_survivors_are_ended(family: Family, tmp_path: Path) -> None:
    """A child that outlived its server is killed with what it started."""
    assert end_survivors([(family.pid, family.birth)], tmp_path) == [family.pid]
    assert not any(map(is_running, (family.pid, *family.others)))


def test_orphans_are_ended(orphans: Family, tmp_path: Path) -> None:
    """What a dead child left in its session is killed, known by its mark."""
    assert end_survivors([(orphans.pid, orphans.birth)], tmp_path) == [orphans.pid]
    assert not any(map(is_running, orphans.others))


def test_a_number_used_again_is_spared(family: Family, tmp_path: Path) -> None:
    """A process that got the number of a child later is not touched."""
    boot, _, ticks = family.birth.partition(" ")
    for birth in (f"{boot} {int(ticks) - 1}", f"another-boot {ticks}", "odd"):
        assert end_survivors([(family.pid, birth)], tmp_path) == []
    assert all(map(is_running, (family.pid, *family.others)))


def test_orphans_of_others_are_spared(orphans: Family, tmp_path: Path) -> None:
    """A session without our mark, or with that of another server, is not touched."""
    found = end_survivors([(orphans.pid, orphans.birth)], tmp_path / "other")
    assert found == []
    assert all(map(is_running, orphans.others))


def test_nobody_is_left(tmp_path: Path) -> None:
    """A child that is gone with all it started needs nothing."""
    gone = subprocess.Popen(["true"], start_new_session=True)
    birth = birth_of(gone.pid) or ""
    gone.wait()
    assert birth_of(gone.pid) is None
    assert end_survivors([(gone.pid, birth)], tmp_path) == []
    end_session(gone.pid)
