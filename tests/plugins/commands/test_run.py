"""Commands as clients run them: values, results, exit codes, secrets, aborts."""

import errno
import grp
import json
import os
import pwd
import random
import string
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from jobs_wire import Wire, open_wire
from process_table import is_running, wait_ended, wait_in_thread

from middlewared import PluginError
from middlewared.errors import SettingsError
from middlewared.testing import RunningServer, running_server
from middlewared_commands import private

PYTHON = f'"{sys.executable}", "-I", "-S", "-c"'
SECRET = "hunter2\"' two"

#: Texts that shells, option parsers and templates like to misunderstand.
GNARLY = [
    *("", " ", "a b", "'", '"', "\\", "$HOME", "$(touch x)", "`touch x`", ";touch x"),
    *("&& touch x", "|touch x", "\n touch x", "*", "~", "{a}", "{{", "%s", "-rf", "--"),
    *(
        "--force",
        "\u20ac",
        "\U0001f600",
        "\x01\x1b[31m",
        "x\r\n",
        "#",
        "!!",
        "(",
        "a=b",
    ),
]

COMMANDS = f"""
[commands.t.words]
argv = [{PYTHON}, "import json,sys; print(json.dumps(sys.argv[1:]))", "--", "{{a}}"]
result = "json"
[commands.t.words.params.a]
type = "list"

[commands.t.optional]
argv = ["printf", "%s,", "x", "{{tag}}", "{{level}}", "{{loud}}", "{{files}}", "{{o}}"]
result = "text"
[commands.t.optional.params]
tag = {{flag = "--tag", required = false, doc = "A tag."}}
level = {{type = "int", flag = "--level=", default = 3}}
loud = {{type = "bool", flag = "--loud"}}
files = {{type = "list", items = "path", flag = "-f", required = false}}
o = {{choices = ["-x", "y"], required = false}}

[commands.t.script]
doc = "Show what a script gets."
script = '''
printf '%s|' "$a" "$n" "$#" "$@"
for i in $many; do :; done
'''
argv = ["{{list}}"]
result = "text"
[commands.t.script.params]
a = {{dash = true}}
n = {{type = "int"}}
many = {{default = ""}}
list = {{type = "list", required = false, dash = true}}

[commands.t.say]
script = 'printf "$text"'
result = "text"
params.text = {{}}

[commands.t.lines]
script = 'printf "$text"; echo err >&2'
result = "lines"
max_result = 100
params.text = {{}}

[commands.t.json]
script = 'printf "%s" "$text"'
result = "json"
max_result = 100
params.text = {{}}

[commands.t.exits]
script = 'echo "it is $code"; exit "$code"'
exit.success = [0, 4]
exit.warnings = [3]
exit.messages = {{3 = "part", 4 = "fine", 5 = "no"}}
params.code = {{type = "int"}}

[commands.t.dies]
script = 'kill -SEGV $$'

[commands.t.family]
script = '''
(trap '' TERM; echo $(sh -c 'echo $PPID') > "$folder/one"; exec sleep 60) &
trap 'echo told; exit 0' TERM
while [ ! -s "$folder/one" ]; do sleep 0.01; done
echo $$ > "$folder/two"
while :; do sleep 0.01; done
'''
params.folder = {{type = "path"}}

[commands.t.deaf]
script = "trap '' TERM; echo begun; while :; do sleep 0.01; done"
abort_grace = 0.2
timeout = 0.2

[commands.t.missing]
argv = ["no such program"]

[commands.t.nowhere]
argv = ["true"]
cwd = "{{folder}}"
params.folder = {{type = "path"}}

[commands.t.stdin]
argv = ["cat"]
result = "text"
params.text = {{stdin = true, required = false}}

[commands.t.environment]
argv = ["env"]
result = "lines"
environment = {{FIXED = "a{{{{b", WHOLE = "<{{a}}>", MAYBE = "<{{o}}>"}}
inherit = ["LANG"]
[commands.t.environment.params]
a = {{env = "A"}}
o = {{env = "O", required = false}}
yes = {{type = "bool", env = "YES"}}

[commands.t.secrets]
script = '''
tr '\\0' '\\n' < /proc/$$/cmdline
echo "env $by_env fixed $FIXED"
printf 'stdin '; cat; echo
printf 'file '; cat "$by_file"; echo
printf 'mode '; stat -c '%a %U' "$by_file"
echo "percent 50% $by_env" >&2
cp "$by_file" "$folder/copy"; echo "$by_file" > "$folder/path"
printf 'cut %s' "$by_env" | dd bs=1 status=none
exit 1
'''
result = "text"
progress = [{{pattern = 'percent (?P<percent>\\d+)% (?P<description>.*)'}}]
[commands.t.secrets.params]
folder = {{type = "path"}}
by_env = {{type = "secret", env = "by_env"}}
by_stdin = {{type = "secret", stdin = true}}
by_file = {{type = "secret"}}
[commands.t.secrets.secrets]
fixed = {{file = "FOLDER/fixed", env = "FIXED"}}

[commands.t.progress]
script = '''
echo "phase one"
for i in 1 2 3 4; do printf "\\r$i/4"; sleep 0.3; done
printf '\\n'; echo end
'''
[[commands.t.progress.progress]]
pattern = '(?P<done>\\d+)/(?P<total>\\d+)'
log = false
[[commands.t.progress.progress]]
pattern = '(?P<description>phase \\w+)'

[commands.t.flood]
script = "yes | head -c 100000; echo the end"
max_log = 1000

[commands.t.locked]
script = 'sleep 0.2; echo "$a"'
lock = "x:{{a}}"
lock_queue_size = 0
description = "Do {{a}}"
roles = ["JOB_USER"]
params.a = {{}}

[commands.t.limited]
script = '''
mkdir "$folder/$$"; ls "$folder" | wc -l; sleep 0.1; rmdir "$folder/$$"
'''
result = "text"
limits = {{"host:{{host}}" = 2}}
params.host = {{}}
params.folder = {{type = "path"}}

[commands.t.again]
script = 'echo x >> "$folder/tries"; exit 1'
retries = 2
retry_wait = 0.01
params.folder = {{type = "path"}}
"""


@asynccontextmanager
async def served(
    text: str, data_dir: Path | None = None
) -> AsyncIterator[tuple[RunningServer, Wire]]:
    """Run a server with commands, and a full admin that watches jobs."""
    tables = {"jobs": {"progress_interval": 0.05}, **tomllib.loads(text)}
    async with (
        running_server(
            tables=tables, data_dir=data_dir, interrupt_grace=0.05
        ) as server,
        open_wire(server.socket_path, watch=True) as admin,
    ):
        yield server, admin


def make_secret(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, in a folder that all can pass."""
    path.touch(0o600)
    path.write_text(text)
    path.parent.chmod(0o755)


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Wire]:
    """Run a server with the commands above."""
    make_secret(tmp_path / "fixed", "fixed secret\n")
    async with served(COMMANDS.replace("FOLDER", str(tmp_path))) as (_, admin):
        yield admin


async def log_of(admin: Wire, item: dict[str, Any]) -> str:
    """Read the log of a job without the lines that the server wrote."""
    text = await anyio.Path(item["logs_path"]).read_bytes()
    lines = text.decode(errors="replace").splitlines(keepends=True)
    return "".join(line for line in lines if "Z INFO " not in line)


async def test_values_arrive_as_they_are(admin: Wire) -> None:
    """Each item is one word, byte for byte, whatever is in it."""
    chance = random.Random(5)  # noqa: S311 - words, not secrets
    characters = string.printable + "\u00e4\u20ac\U0001f600"
    words = ["".join(chance.choices(characters, k=9)) for _ in range(200)]
    found = await admin.call("t.words", [*GNARLY, *words])
    assert found == ["--", *GNARLY, *words]
    assert await admin.call("t.words", a=[]) == ["--"]


async def test_optional_words(admin: Wire) -> None:
    """What is not given leaves no word; defaults and flags appear."""
    for values, words in (
        ({}, "x,--level=3,"),
        ({"tag": "a b", "loud": True}, "x,--tag,a b,--level=3,--loud,"),
        ({"files": ["/a", "/b c"], "level": 0}, "x,--level=0,-f,/a,-f,/b c,"),
        ({"o": "-x"}, "x,--level=3,-x,"),
        ({"tag": None, "files": []}, "x,--level=3,"),
    ):
        assert await admin.call("t.optional", **values) == words
    assert await admin.call("t.optional", "t", 1) == "x,--tag,t,--level=1,"


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"tag": "-x"}, "tag"),
        ({"tag": "--"}, "tag"),
        ({"files": ["x"]}, "files.0"),
        ({"o": "z"}, "o"),
        ({"level": "1"}, "level"),
        ({"nothing": 1}, "nothing"),
    ],
)
async def test_values_that_do_not_fit(
    admin: Wire, params: dict[str, Any], wrong: str
) -> None:
    """They are refused before there is a job."""
    error = await admin.fail("t.optional", **params)
    assert error.code == -32602
    assert error.data["extra"][0][0] == wrong
    assert admin.events() == []


async def test_scripts_never_see_values_as_text(admin: Wire, tmp_path: Path) -> None:
    """Values are variables and positional params; nothing in them is run."""
    text = "\n".join(GNARLY).replace("touch x", f"touch {tmp_path}/x")
    items = [word.replace("touch x", f"touch {tmp_path}/x") for word in GNARLY]
    found = await admin.call("t.script", text, 5, "", items)
    assert found == "|".join([text, "5", str(len(items)), *items, ""])
    assert not (tmp_path / "x").exists()


async def test_a_method_like_any_other(admin: Wire) -> None:
    """Clients see documentation, schema and result as of methods in Python."""
    methods = await admin.call("core.get_methods", "t")
    assert methods["t.script"]["description"] == "Show what a script gets."
    assert methods["t.deaf"]["description"] == "Run the script of t.deaf."
    assert methods["t.optional"]["job"] is True
    tag, level, *_ = methods["t.optional"]["accepts"]
    assert (tag["_name_"], tag["_required_"]) == ("tag", False)
    assert tag["description"] == "A tag."
    assert (level["type"], level["default"]) == ("integer", 3)
    assert methods["t.lines"]["returns"]["items"] == {"type": "string"}


@pytest.mark.parametrize(
    ("method", "text", "result"),
    [
        ("t.say", "x\\n\\ny\\n\\n", "x\n\ny"),
        ("t.say", "", ""),
        ("t.say", "a\\377b", "a\ufffdb"),
        ("t.lines", "a\\nb\\r\\n\\nc\\fd", ["a", "b", "", "c\fd"]),
        ("t.lines", "\\n", [""]),
        ("t.lines", "", []),
        ("t.json", '{"a": [1, null, "\u20ac"]}\n', {"a": [1, None, "\u20ac"]}),
    ],
)
async def test_results(admin: Wire, method: str, text: str, result: Any) -> None:
    """The standard output is the result as the settings say, and is in the log, too."""
    number = await admin.start(method, text)
    item = await admin.final(number)
    assert (item["state"], item["result"]) == ("SUCCESS", result)


@pytest.mark.parametrize(
    ("method", "text", "error"),
    [
        ("t.json", "", "the output is no JSON: "),
        ("t.json", "{", "the output is no JSON: "),
        ("t.json", "NaN", "the output is no JSON: "),
        ("t.json", "[" * 100, "the output is no JSON: "),
        ("t.json", "1" * 101, "the output has 101 bytes, the limit max_result is 100"),
        ("t.lines", "y" * 101, "the output has 101 bytes, the limit max_result is 100"),
    ],
)
async def test_results_that_are_none(
    admin: Wire, method: str, text: str, error: str
) -> None:
    """A method that cannot give what it promises has failed."""
    item = await admin.run(method, text)
    assert item["state"] == "FAILED"
    assert error in item["error"]


async def test_exit_codes(admin: Wire) -> None:
    """Codes mean what the settings say, in state, exit and messages of the record."""
    found = {}
    for code in (0, 3, 4, 5, 6):
        item = await admin.run("t.exits", code)
        record = await admin.call("job.get", item["id"])
        messages = [(m["severity"], m["code"], m["text"]) for m in record["messages"]]
        found[code] = (item["state"], record["exit"]["kind"], messages)
        if item["state"] == "FAILED":
            assert item["exc_info"]["extra"] == {"status": code}
            assert item["error"].endswith(f"; it said: it is {code}")
    said = "the script of t.exits ended with exit code"
    assert found == {
        0: ("SUCCESS", "COMPLETED", []),
        3: (
            "SUCCESS",
            "COMPLETED_WITH_ERRORS",
            [("warning", 3, f"{said} 3: part")],
        ),
        4: ("SUCCESS", "COMPLETED", [("info", 4, f"{said} 4: fine")]),
        5: ("FAILED", "FAILED", [("error", 5, f"{said} 5: no")]),
        6: ("FAILED", "FAILED", [("error", 6, f"{said} 6")]),
    }
    item = await admin.run("t.dies")
    assert "was killed by SIGSEGV" in item["error"]


async def family(folder: Path) -> list[int]:
    """Wait until the processes of ``t.family`` are there; give their numbers."""
    for name in ("one", "two"):
        assert await wait_in_thread((folder / name).exists)
        assert await wait_in_thread((folder / name).read_text)
    return [int((folder / name).read_text()) for name in ("one", "two")]


async def test_an_abort_ends_everything(admin: Wire, tmp_path: Path) -> None:
    """The program is asked; what it started and left is killed; the job is ABORTED."""
    number = await admin.start("t.family", str(tmp_path))
    pids = await family(tmp_path)
    record = await admin.call("job.get", number)
    assert record["child_pid"] == pids[1]
    await admin.call("job.abort", number)
    item = await admin.final(number)
    assert item["state"] == "ABORTED"
    assert "told" in await log_of(admin, item)
    assert not any(map(is_running, pids))
    assert (await admin.call("job.get", number))["child_pid"] is None


async def test_a_timeout_ends_like_an_abort(admin: Wire) -> None:
    """Who does not listen is killed after the grace; the job is FAILED."""
    item = await admin.run("t.deaf")
    assert item["state"] == "FAILED"
    assert item["exc_info"]["errno"] == errno.ETIMEDOUT
    assert "not honoured for 0.2 s, its process is killed" in item["logs_excerpt"]
    assert "was killed by SIGKILL" in item["logs_excerpt"]


async def test_an_abort_that_comes_at_once(admin: Wire) -> None:
    """At any moment between the call and the program, an abort ends the job."""
    for number in range(10):
        job = await admin.start("t.deaf")
        await anyio.sleep(0.003 * number)
        await admin.call("job.abort", job)
        assert (await admin.final(job))["state"] == "ABORTED"


async def test_what_cannot_begin(admin: Wire) -> None:
    """A missing program or folder fails the job, and says which."""
    item = await admin.run("t.missing")
    assert (
        "program 'no such program' is in none of the folders of PATH" in item["error"]
    )
    assert item["exc_info"]["errno"] == errno.ENOENT
    item = await admin.run("t.nowhere", "/no/such/folder")
    assert "working folder '/no/such/folder' cannot be entered" in item["error"]
    assert (await admin.run("t.nowhere", "/usr"))["state"] == "SUCCESS"


async def test_standard_input(admin: Wire) -> None:
    """It is a value, or nothing; a program that reads never waits."""
    text = "line\n" * 50_000
    assert await admin.call("t.stdin", text) == text.rstrip("\n")
    assert await admin.call("t.stdin") == ""


async def test_the_command_line_in_the_log(admin: Wire) -> None:
    """It is one line, as a shell would take it, whatever the values are."""
    item = await admin.run(
        "t.words", ["a b", "x\n2026-01-01T00:00:00.000Z INFO forged"]
    )
    log = (await anyio.Path(item["logs_path"]).read_text()).splitlines()
    assert len(log) == 3
    assert log[0].endswith(r"'a b' 'x\n2026-01-01T00:00:00.000Z INFO forged'")


async def test_environment(admin: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program gets what the settings name, and no variable of the server besides."""
    monkeypatch.setenv("MIDDLEWARED_PASSWORD", "hunter2")
    monkeypatch.setenv("OTHER", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    number = await admin.start("t.environment", "a b", None, True)
    found = dict(line.split("=", 1) for line in (await admin.final(number))["result"])
    assert found.pop("PATH")
    assert found.pop("MIDDLEWARED_CHILD_OF")
    assert found.pop("MIDDLEWARED_JOB_ID") == str(number)
    assert found == {
        "FIXED": "a{b",
        "WHOLE": "<a b>",
        "A": "a b",
        "YES": "true",
        "LANG": "C.UTF-8",
    }
    assert "MAYBE=<o>" in await admin.call("t.environment", "a", "o")


async def test_secrets_are_nowhere(admin: Wire, tmp_path: Path) -> None:
    """Each way brings the secret to the program; nothing that anybody sees has it."""
    secrets = {f"by_{way}": f"{way} {SECRET}" for way in ("env", "stdin", "file")}
    number = await admin.start("t.secrets", folder=str(tmp_path), **secrets)
    item = await admin.final(number)
    assert item["state"] == "FAILED"
    assert (tmp_path / "copy").read_text() == secrets["by_file"]
    path = Path((tmp_path / "path").read_text().strip())
    assert path.parent.parent == private.MEMORY
    assert not path.parent.exists()
    log = await log_of(admin, item)
    mask = "********"
    owner = pwd.getpwuid(os.geteuid()).pw_name
    assert f"env {mask} fixed {mask}\n" in log
    assert f"stdin {mask}\nfile {mask}\nmode 600 {owner}\n" in log
    assert f"percent 50% {mask}" in log
    assert "it said: cut ********" in item["error"]
    assert item["arguments"] == [str(tmp_path), mask, mask, mask]
    everything = json.dumps([admin.frames, log], ensure_ascii=False)
    everything += json.dumps(await admin.call("job.get", number), ensure_ascii=False)
    for secret in (*secrets.values(), "fixed secret"):
        assert secret not in everything
        assert json.dumps(secret)[1:-1] not in everything
    assert item["progress"]["description"] == mask


async def test_progress(admin: Wire) -> None:
    """Clients see how far a program is, and its progress need not fill the log."""
    number = await admin.start("t.progress")
    item = await admin.final(number)
    seen = [event["fields"]["progress"] for event in admin.events(number)]
    assert {25, 50, 75} <= {progress["percent"] for progress in seen}
    assert "phase one" in {progress["description"] for progress in seen}
    assert (await log_of(admin, item)).split() == ["phase", "one", "end"]


async def test_a_flood_has_a_limit(admin: Wire) -> None:
    """Of output over the limit the last bytes are kept."""
    log = await log_of(admin, await admin.run("t.flood"))
    assert len(log) < 70_000
    assert "more bytes, over max_log ..." in log
    assert log.endswith("the end\n")


async def test_locks_and_descriptions(admin: Wire) -> None:
    """The options of jobs are those of the table."""
    first = await admin.start("t.locked", "one")
    assert (await admin.fail("t.locked", "one")).errno == errno.EBUSY
    second = await admin.start("t.locked", "two")
    items = [await admin.final(number) for number in (first, second)]
    assert [item["description"] for item in items] == ["Do one", "Do two"]


async def test_limits(admin: Wire, tmp_path: Path) -> None:
    """So many jobs with one key run at one time, as the table says."""
    (folder := tmp_path / "inside").mkdir()
    numbers = [await admin.start("t.limited", "one", str(folder)) for _ in range(5)]
    inside = [int((await admin.final(number))["result"]) for number in numbers]
    assert max(inside) == 2


async def test_attempts(admin: Wire, tmp_path: Path) -> None:
    """A command that fails is tried again as often as the table says."""
    item = await admin.run("t.again", str(tmp_path))
    assert item["state"] == "FAILED"
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    assert (await log_of(admin, item)) == ""


async def test_roles(tmp_path: Path) -> None:
    """Commands are for who has a role of the table, others are for full admins."""
    text = COMMANDS.replace("FOLDER", str(tmp_path))
    async with served(text) as (server, _):
        account = {"username": "ann", "password": "pw", "roles": ["JOB_USER"]}
        await server.context.call("user.create", account)
        async with open_wire(server.ws_url, login=("ann", "pw"), watch=True) as ann:
            assert (await ann.run("t.locked", "x"))["state"] == "SUCCESS"
            assert (await ann.fail("t.say", "x")).errno == errno.EACCES


async def test_another_account(tmp_path: Path) -> None:
    """As root, a command runs as another user, with its groups, home and own secret."""
    text = """
    [commands.t.who]
    script = '''
    id -u; id -g; id -G; echo "$HOME"; umask; pwd
    cat /dev/stdin > /dev/stdout; echo > /dev/stderr
    cat "$key"; echo; cat "$FIXED" || echo not allowed
    ls -d "$(dirname "$key")"; ls "$(dirname "$key")" || echo no list
    '''
    result = "lines"
    user = "USER"
    group = "GROUP"
    umask = "027"
    nice = 2
    environment = {FIXED = "FOLDER/fixed"}
    params.key = {type = "secret"}
    params.text = {stdin = true}
    """
    make_secret(tmp_path / "fixed", "hunter2")
    root = os.geteuid() == 0
    entry = pwd.getpwnam("nobody" if root else pwd.getpwuid(os.geteuid()).pw_name)
    group = grp.getgrgid(1 if root else os.getegid())
    for name, found in (
        ("USER", entry.pw_name),
        ("GROUP", group.gr_name),
        ("FOLDER", str(tmp_path)),
    ):
        text = text.replace(name, found)
    async with served(text) as (_, admin):
        lines = await admin.call("t.who", "my key", "input\n")
    assert lines[:2] == [str(entry.pw_uid), str(group.gr_gid)]
    assert lines[3:6] == [entry.pw_dir, "0027", "/"]
    assert lines[6:8] == ["input", "********"]
    if root:
        assert lines[2] == str(group.gr_gid)
        assert lines[8] == "not allowed"
        assert lines[-1] == "no list"


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("[commands.core.ping]\nargv = ['true']", PluginError, "core.ping is declared"),
        ("[commands.t.x]\nargv = []", SettingsError, "table 'commands.t.x': there is"),
        ("[commands]\nx = 1", SettingsError, "setting x in table 'commands' is 1"),
    ],
)
async def test_mistakes_stop_the_start(
    text: str, kind: type[Exception], error: str
) -> None:
    """The server does not start, and one line says where to look."""
    with pytest.raises(kind) as raised:
        async with served(text):
            pass
    assert error in str(raised.value)
    assert "commands" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_leftovers_of_a_crash(tmp_path: Path) -> None:
    """A start removes the private files that a dead server left."""
    left = private.PrivateFiles({"key": "hunter2"}, tmp_path, None)
    with left as files:
        folder = Path(files.paths["key"]).parent
        async with served("", tmp_path):
            assert not folder.exists()


async def test_a_stop_ends_commands(tmp_path: Path) -> None:
    """A server that stops asks, kills, and records its commands; nothing is left."""
    async with served(COMMANDS.replace("FOLDER", str(tmp_path))) as (server, admin):
        await admin.start("t.family", str(tmp_path))
        pids = await family(tmp_path)
    assert wait_ended(pids)
    assert server.app.clean
