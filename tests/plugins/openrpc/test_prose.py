"""Docstrings as HTML."""

from middlewared_openrpc.prose import line, prose


def test_code_in_a_line() -> None:
    """What stands in backticks is code, and everything is escaped."""
    assert line("a `<b>` <c>") == "a <code>&lt;b&gt;</code> &lt;c&gt;"
    assert line("") == ""


def test_paragraphs() -> None:
    """Lines of a paragraph are joined, sections are left out."""
    doc = "One\nline of *it*.\n\n``Two``.\n\nArgs:\n    x: y"
    assert prose(doc) == ("<p>One line of <code>it</code>.</p><p><code>Two</code>.</p>")


def test_lists() -> None:
    """Items may take several lines, and follow a paragraph directly."""
    doc = "These:\n- one\n  goes on\n- two\n\n* three"
    assert prose(doc) == (
        "<p>These:</p><ul><li>one goes on</li><li>two</li></ul><ul><li>three</li></ul>"
    )
