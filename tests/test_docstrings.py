"""Everything public says what it is, every test says what holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [*ROOT.glob("middlewared/**/*.py"), *ROOT.glob("plugins/*/**/*.py")]
TESTS = [
    path for path in ROOT.glob("tests/**/*.py") if "node_modules" not in path.parts
]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_overload(node: Documented) -> bool:
    return any(
        isinstance(decorator, ast.Name) and decorator.id == "overload"
        for decorator in node.decorator_list
    )


def public(body: list[ast.stmt]) -> Iterator[Documented]:
    """Walk public classes, their public methods, and public functions."""
    for node in body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            if not is_overload(node):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def find_tests(node: ast.AST) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function) and child.name.startswith("test_"):
            yield child
        elif isinstance(child, ast.ClassDef):
            yield from find_tests(child)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_things_have_docstrings(path: Path) -> None:
    """Modules, classes, methods and functions, in private modules too."""
    module = parse(path)
    assert ast.get_docstring(module)
    bare = [
        f"{node.lineno}: {node.name}"
        for node in public(module.body)
        if not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_say_what_holds(path: Path) -> None:
    """Each test has at least one sentence, and so has its module."""
    module = parse(path)
    assert ast.get_docstring(module)
    bare = []
    for test in find_tests(module):
        sentence = (ast.get_docstring(test) or "").partition("\n\n")[0].strip()
        if not sentence.endswith((".", "?", "!", ".)")) or " " not in sentence:
            bare.append(f"{test.lineno}: {test.name}")
    assert bare == []
