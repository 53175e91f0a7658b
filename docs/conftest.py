"""Runs the Python in the documents, and the tests of the examples beside them."""

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "examples"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, which is what the server runs on."""
    return "asyncio"


def run_example(example: Example) -> None:
    """Run a fence in the namespace of its document; it may await at the top level."""
    lines = "\n" * (example.line + example.parsed.line_offset)
    code = compile(
        f"{lines}{example.parsed}",
        example.path,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    outcome: Any = eval(code, example.namespace)  # noqa: S307 - our own documents
    if inspect.iscoroutine(outcome):
        anyio.run(_await, outcome)


async def _await(outcome: Any) -> None:
    await outcome


#: The documents stand in docs/ and README.md beside it; both are one set.
_sybil = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=run_example)],
    path=str(DOCS.parent),
    patterns=["README.md", "docs/*.md"],
    setup=lambda namespace: namespace.update(__name__="document"),
)


class Documents:
    """Collects the documents, README.md too, which no conftest here would reach."""

    pytest_collect_file = staticmethod(_sybil.pytest())


def pytest_configure(config: pytest.Config) -> None:
    """Collect the documents wherever they are."""
    config.pluginmanager.register(Documents(), "documents")
