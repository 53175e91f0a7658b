"""The packages of npm that tests run against."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

NODE = Path(__file__).parent / "node"


def install_packages(shared: Path) -> None:
    """Install what ``tests/node/package.json`` names, unless it is there.

    Args:
        shared: a folder that all test processes know; they may share the checkout.
    """
    wanted = json.loads((NODE / "package.json").read_text())["devDependencies"]
    with (shared / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(_installed(name, version) for name, version in wanted.items()):
            npm = shutil.which("npm")
            assert npm, "npm is part of Node.js, but not installed here"
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=NODE, check=True, timeout=240)


def _installed(name: str, version: str) -> bool:
    package = NODE / "node_modules" / name / "package.json"
    return package.exists() and json.loads(package.read_text())["version"] == version
