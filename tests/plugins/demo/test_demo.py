"""The demo's jobs do what they say, on real files."""

import hashlib
import itertools
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from jobs_wire import Wire

Files = Callable[..., Path]


def digest_of(algorithm: str, *contents: bytes) -> str:
    """Compute the digest of the digests of some files."""
    whole = hashlib.new(algorithm)
    for content in contents:
        whole.update(hashlib.new(algorithm, content).digest())
    return whole.hexdigest()


def names_in(folder: Path) -> list[str]:
    """Name what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "blake2b"])
async def test_checksum_of_a_folder(admin: Wire, files: Files, algorithm: str) -> None:
    """Every file is digested, in the order of their paths, with a line each."""
    root = files(b=b"two", a=b"one", sub__c=b"x" * 3_000_000)
    final = await admin.run("demo.checksum", str(root), algorithm)
    assert final["state"] == "SUCCESS"
    assert final["result"] == {
        "files": 3,
        "bytes": 3_000_006,
        "digest": digest_of(algorithm, b"one", b"two", b"x" * 3_000_000),
    }
    assert final["description"] == f"Checksum of {root}"
    lines = final["logs_excerpt"].splitlines()
    assert len(lines) == 4
    assert lines[1].endswith(f"{hashlib.new(algorithm, b'one').hexdigest()}  {root}/a")


async def test_checksum_of_a_file_and_of_nothing(admin: Wire, files: Files) -> None:
    """One file is a tree of one; an empty folder has no files."""
    root = files(a=b"one")
    final = await admin.run("demo.checksum", str(root / "a"))
    assert final["result"]["digest"] == digest_of("sha256", b"one")
    (root / "a").unlink()
    final = await admin.run("demo.checksum", str(root))
    assert final["result"] == {"files": 0, "bytes": 0, "digest": digest_of("sha256")}


async def test_checksum_of_odd_names(admin: Wire, allowed: Path) -> None:
    """Names that are no UTF-8, and links, do not stop it."""
    name = os.fsdecode(b"caf\xe9 \xff")
    (allowed / name).write_bytes(b"odd")
    (allowed / "link").symlink_to(allowed / name)
    final = await admin.run("demo.checksum", str(allowed))
    assert final["state"] == "SUCCESS"
    assert final["result"]["files"] == 1


async def test_checksum_is_aborted(admin: Wire, allowed: Path) -> None:
    """A long checksum, which runs in a thread, ends soon after its abort."""
    with (allowed / "sparse").open("wb") as file:
        file.truncate(200 << 30)
    job = await admin.start("demo.checksum", str(allowed))
    await admin.wait(
        lambda f: (
            "params" in f
            and f["params"]["fields"]["progress"]["description"] == "sparse"
        )
    )
    await admin.call("core.job_abort", job)
    final = await admin.final(job)
    assert final["state"] == "ABORTED"
    assert final["logs_excerpt"].endswith(f"below {allowed}\n")


async def test_unknown_algorithm_makes_no_job(admin: Wire, files: Files) -> None:
    """An algorithm that is none is refused with the params."""
    for algorithm in ("sha3", "", None, 5):
        error = await admin.fail("demo.checksum", str(files(a=b"")), algorithm)
        assert (error.code, error.data["extra"][0][0]) == (-32602, "algorithm")


async def test_archive_of_a_folder(admin: Wire, files: Files, allowed: Path) -> None:
    """The archive has every file, below the folder's name, and appears at the end."""
    root, target = files(a=b"one", sub__b=b"two"), allowed / "made" / "tree.tar.gz"
    final = await admin.run("demo.archive", str(root), str(target))
    assert final["state"] == "SUCCESS", final
    assert final["result"] == {
        "path": str(target),
        "files": 2,
        "bytes": target.stat().st_size,
    }
    with tarfile.open(target) as tar:
        assert tar.getnames() == ["tree/a", "tree/sub/b"]
        member = tar.extractfile("tree/sub/b")
        assert member is not None
        assert member.read() == b"two"
    assert names_in(target.parent) == ["tree.tar.gz"]


async def test_archives_of_one_target_take_turns(
    admin: Wire, files: Files, allowed: Path
) -> None:
    """Two jobs with one target do not write it at one time."""
    root, target = str(files(a=b"x" * 500_000)), str(allowed / "t.tar.gz")
    numbers = await admin.send_many([("demo.archive", [root, target])] * 3)
    ends = [await admin.final(await admin.started(number)) for number in numbers]
    times = [(e["time_started"]["$date"], e["time_finished"]["$date"]) for e in ends]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))


async def test_archive_that_fails_leaves_nothing(admin: Wire, allowed: Path) -> None:
    """An archive that cannot be finished leaves no half of it."""
    (allowed / "folder.tar.gz").mkdir()
    (allowed / "folder.tar.gz" / "full").write_bytes(b"")
    (allowed / "file").write_bytes(b"one")
    final = await admin.run(
        "demo.archive", str(allowed / "file"), str(allowed / "folder.tar.gz")
    )
    assert final["state"] == "FAILED"
    assert names_in(allowed) == ["file", "folder.tar.gz"]


async def test_relative_paths_are_in_the_demos_folder(
    admin: Wire, files: Files, data_dir: Path
) -> None:
    """A target without a folder lies in the data directory."""
    final = await admin.run("demo.archive", str(files(a=b"one")), "tree.tar.gz")
    assert final["result"]["path"] == str(data_dir / "demo" / "tree.tar.gz")
    final = await admin.run("demo.checksum", "tree.tar.gz")
    assert final["result"]["files"] == 1


async def test_disk_usage_of_a_folder(admin: Wire, files: Files) -> None:
    """A child process measures; the largest comes first, the folder itself."""
    root = files(small__a=b"1", large__b=b"x" * 300_000)
    final = await admin.run("demo.disk_usage", str(root))
    assert final["state"] == "SUCCESS"
    found = [usage["path"] for usage in final["result"]]
    assert found == [str(root), str(root / "large"), str(root / "small")]
    assert final["result"][1]["kilobytes"] >= 292
    assert "large" in final["logs_excerpt"]


async def test_disk_usage_ends_its_child(admin: Wire, allowed: Path) -> None:
    """Aborting it ends the child process as well, at once."""
    for n in range(300):
        (allowed / f"{n}" / "x" / "y").mkdir(parents=True)
    job = await admin.start("demo.disk_usage", str(allowed))
    await admin.event(job, "RUNNING")
    await admin.call("core.job_abort", job)
    final = await admin.final(job)
    assert final["state"] in ("ABORTED", "SUCCESS")
    assert f"{allowed}".encode() not in await running_commands()


async def running_commands() -> bytes:
    """Give the command lines of all processes called du."""
    found = []
    async for path in anyio.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = await path.read_bytes()
        except OSError:
            continue
        if command.startswith(b"du\0"):
            found.append(command)
    return b"\n".join(found)


@pytest.mark.parametrize("method", ["demo.checksum", "demo.disk_usage"])
async def test_missing_path_fails(admin: Wire, allowed: Path, method: str) -> None:
    """A path that does not exist is ENOENT, told with the path."""
    final = await admin.run(method, str(allowed / "none"))
    assert final["state"] == "FAILED"
    assert final["exc_info"]["errno"] == 2
    assert str(allowed / "none") in final["error"]


OUTSIDE = ["/etc", "/etc/passwd", "..", "../..", "~root", "/proc/self/root/etc"]


@pytest.mark.parametrize("method", ["demo.checksum", "demo.disk_usage"])
async def test_paths_outside_are_refused(admin: Wire, method: str) -> None:
    """A path outside of what is allowed is an error of validation."""
    for path in OUTSIDE:
        number = await admin.send(method, [path])
        final = await admin.final(await admin.started(number))
        assert final["exc_info"]["type"] == "VALIDATION", path
        assert final["exc_info"]["extra"][0][0] == "path"
        assert (await admin.answer(number))["error"]["code"] == -32602


async def test_links_do_not_lead_outside(admin: Wire, allowed: Path) -> None:
    """A link that leads out is followed before it is judged."""
    (allowed / "out").symlink_to("/etc")
    final = await admin.run("demo.checksum", str(allowed / "out" / "passwd"))
    assert final["exc_info"]["type"] == "VALIDATION"
    final = await admin.run("demo.archive", str(allowed), str(allowed / "out" / "x"))
    assert final["exc_info"]["extra"][0][0] == "target"


async def test_impossible_paths_fail(admin: Wire) -> None:
    """What is no path fails its job, and nothing else."""
    for path in ("", "\0", "a" * 5000):
        final = await admin.run("demo.checksum", path)
        assert final["state"] in ("FAILED", "SUCCESS")
    assert await admin.call("core.ping") == "pong"


async def test_sleep_tells_its_steps(admin: Wire) -> None:
    """It sleeps as long as asked, and says which step it is in."""
    final = await admin.run("demo.sleep", 0.4, 2)
    assert final["result"] >= 0.39
    told = {e["fields"]["progress"]["description"] for e in admin.events()}
    assert {"step 1 of 2", "step 2 of 2"} <= told
    assert final["description"] == "Sleep for 0.4 s"


async def test_wrong_sleeps_are_refused(admin: Wire) -> None:
    """Lengths and counts that make no sense are refused with the params."""
    wrong: list[list[Any]] = [[-1], ["x"], [1, 0], [1, 2.5], [1e9], [], [1, 2, 3]]
    for params in wrong:
        assert (await admin.fail("demo.sleep", *params)).code == -32602, params


async def test_noop_returns_its_value(admin: Wire) -> None:
    """It gives back what it was given."""
    for value in (None, 0, "", [1, {"a": None}], {"x": 1.5}, "\u20ac"):
        assert await admin.call("demo.noop", value) == value
    assert await admin.call("demo.noop") is None


async def test_fail_fails_as_told(admin: Wire) -> None:
    """With a number it is a call error, without one a plain exception."""
    error = await admin.fail("demo.fail", "no luck", 16)
    assert (error.code, error.errno, error.reason) == (-32001, 16, "[EBUSY] no luck")
    error = await admin.fail("demo.fail", "no luck")
    assert (error.errno, error.reason) == (22, "no luck")
    assert error.data["trace"]["class"] == "RuntimeError"


async def test_log_writes_numbered_lines(admin: Wire) -> None:
    """It writes as many lines as asked; the excerpt shows both ends."""
    final = await admin.run("demo.log", 30)
    assert final["result"] == 30
    lines = final["logs_excerpt"].splitlines()
    assert lines[0].endswith("INFO line 1 of 30")
    assert lines[10] == "... 10 more lines ..."
    assert lines[-1].endswith("INFO line 30 of 30")
    assert (await admin.run("demo.log", 0))["logs_excerpt"] == ""


async def test_endless_log_is_aborted(admin: Wire) -> None:
    """A body that writes without pause still lets an abort through."""
    job = await admin.start("demo.log", 10_000_000)
    await admin.event(job, "RUNNING")
    await admin.call("core.job_abort", job)
    assert (await admin.final(job))["state"] == "ABORTED"


async def test_other_demo_jobs(admin: Wire) -> None:
    """Locked, transient and unencodable show what they are for."""
    assert await admin.call("demo.locked", 0, "x") is None
    assert (await admin.run("demo.transient", 0))["transient"] is True
    final = await admin.run("demo.unencodable")
    assert final["result_encoding_error"] is not None
