"""The static pages: served with headers that keep everything foreign out."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

import middlewared_dashboard
from middlewared.testing import RunningServer, running_server

STATIC = Path(middlewared_dashboard.__file__).parent / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
IMPORT = re.compile(
    r'^(?:import\b[^"\n]*|export\s*\{[^}"]*\}\s*from\s+|\}\s*from\s+)"([^"]+)"',
    re.MULTILINE,
)
CONTENT = {path: path.read_bytes() for path in FILES}
MODULES = [path for path in FILES if path.suffix == ".js"]


def name_of(path: Path) -> str:
    return path.relative_to(STATIC).as_posix()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[RunningServer]:
    """Run a server for all tests here."""
    async with running_server() as running:
        yield running


@pytest.fixture
async def http(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """Ask the server."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


class Page(HTMLParser):
    """Notes what a page refers to, and what could run inside it.

    Attributes:
        files: what it loads.
        preloaded: the modules it asks for at once.
        inline: scripts, styles and handlers in the page itself.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: set[str] = set()
        self.preloaded: set[str] = set()
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.inline += [
            name for name in found if name.startswith("on") or name == "style"
        ]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        target = found.get("src") or (found.get("href") if tag == "link" else None)
        if target:
            self.files.add(target)
        if found.get("rel") == "modulepreload":
            self.preloaded.add(str(target))


PAGE = Page((STATIC / "index.html").read_text(encoding="utf-8"))


async def test_front_door(http: httpx.AsyncClient) -> None:
    """A browser that knows only the address comes to the dashboard."""
    answer = await http.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")


@pytest.mark.parametrize("path", ["/ui/", "/ui/index.html"])
async def test_page(http: httpx.AsyncClient, path: str) -> None:
    """The folder is the page."""
    answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    guards(answer)


async def test_without_the_slash(http: httpx.AsyncClient) -> None:
    """The address without a slash leads to the one with it: links are relative."""
    answer = await http.get("/ui")
    assert answer.status_code == 307
    assert answer.headers["location"].endswith("/ui/")


@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_files(http: httpx.AsyncClient, path: Path) -> None:
    """Each file is served as it is, as what it is, with the guarding headers."""
    answer = await http.get(f"/ui/{name_of(path)}")
    assert answer.content == CONTENT[path]
    kinds = {
        ".js": "javascript",
        ".css": "text/css",
        ".html": "text/html",
        ".svg": "image/svg+xml",
        ".json": "application/json",
    }
    assert kinds[path.suffix] in answer.headers["content-type"]
    guards(answer)


def guards(answer: httpx.Response) -> None:
    """Check that nothing foreign can run in the page, and no page around it."""
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert "style-src" not in policy
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


async def test_unchanged_file_is_not_sent_again(http: httpx.AsyncClient) -> None:
    """A browser asks whether it changed, and gets only that it did not."""
    first = await http.get("/ui/app.js")
    again = await http.get(
        "/ui/app.js", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    guards(again)


@pytest.mark.parametrize(
    "path",
    [
        "/ui/nosuch.js",
        "/ui/client",
        "/ui/%2e%2e/_pages.py",
        "/ui/..%2f_pages.py",
        "/ui/client/%2e%2e/%2e%2e/_pages.py",
        "/ui//etc/passwd",
        "/ui/%00",
    ],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    """What is not in the folder is not found."""
    answer = await http.get(path)
    assert answer.status_code in (404, 307)
    assert b"plugin" not in answer.content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_files_are_only_read(http: httpx.AsyncClient, method: str) -> None:
    """Other verbs are refused."""
    assert (await http.request(method, "/ui/app.js")).status_code == 405


def test_page_needs_nothing_inline() -> None:
    """The policy forbids scripts and styles in the page: there are none."""
    assert PAGE.inline == []


def test_page_refers_to_what_is_there() -> None:
    """Every file it loads exists, by a relative path, so that a prefix may be set."""
    assert {name for name in PAGE.files if not (STATIC / name).is_file()} == set()
    assert {name for name in PAGE.files if name.startswith(("/", "http"))} == set()


def test_all_modules_are_preloaded() -> None:
    """They come at once, not one level of imports after the other."""
    assert PAGE.preloaded == {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_what_is_there(path: Path) -> None:
    """Every import is a file of ours: there is no build step, and no other server."""
    text = CONTENT[path].decode()
    imports = IMPORT.findall(text)
    assert [name for name in imports if not (path.parent / name).is_file()] == []
    assert not re.search(r"\binnerHTML\b|\beval\(|new Function\(|document\.write", text)


async def test_address_leads_to_the_page(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    """A browser that knows only the address ends there."""
    answer = await http.get("", follow_redirects=True)
    assert str(answer.url) == f"{server.url}/ui/"
    assert answer.status_code == 200
    guards(answer)
