"""The sessions in the documents of the dialects, run in a real shell."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import CONFIG, ServerProcess

PAGE = Path(__file__).parent.parent.parent / "docs" / "dialects.md"
SESSIONS = re.findall(
    r"^## (\w+)\n(?:(?!^## ).)*?^```sh\n(.*?)^```$",
    PAGE.read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)


def test_every_dialect_has_a_session() -> None:
    """One each."""
    assert [name for name, _ in SESSIONS] == ["Webex", "ArcGIS", "OCAPI", "InfoLink"]


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """Run the program, and say where it is and with which key."""
    folder = tmp_path_factory.mktemp("docs")
    with ServerProcess(folder / "data", config=CONFIG) as server:
        user = ("user", "add", "ann", "--role", "JOB_USER", "--password-stdin")
        server.command(*user, input_text="correct horse battery")
        account = '{"username": "ann", "name": "k"}'
        key = server.command("call", "api_key.create", account).stdout
        clear = re.search(r'"key": "([^"]+)"', key)
        assert clear is not None
        yield os.environ | {"URL": server.url, "KEY": clear[1]}


@pytest.mark.curl
@pytest.mark.parametrize(("name", "session"), SESSIONS)
def test_sessions(
    environment: dict[str, str], tmp_path: Path, name: str, session: str
) -> None:
    """Every command succeeds, and finds what it looks for."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", session],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (name, done.stdout, done.stderr)
