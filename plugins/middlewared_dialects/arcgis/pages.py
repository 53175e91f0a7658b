"""The documents of the ArcGIS dialect as pages that a person can click through.

Plain HTML without scripts and styles: the page of a job that runs loads itself anew.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Link", "page"]

#: Seconds after which the page of a running job is loaded anew.
REFRESH_SECONDS = 2

Link = tuple[str, str]


def page(
    title: str,
    values: Any,
    *,
    links: Sequence[Link] = (),
    fields: Sequence[str] = (),
    action: str = "",
    live: bool = False,
) -> str:
    """Write a page.

    Args:
        title: its heading.
        values: plain values to show.
        links: paths and names of pages around it.
        fields: names of the fields of a form on it.
        action: where the form goes.
        live: it loads itself anew.
    """
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<link rel="icon" href="data:,">',
        refresh if live else "",
        f"<title>{html.escape(title)}</title>",
        f"<h1>{html.escape(title)}</h1>",
        _nav(links),
        _value(values),
        _form(action, fields) if action else "",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _nav(links: Iterable[Link]) -> str:
    items = [
        f'<a href="{html.escape(to)}">{html.escape(name)}</a>' for to, name in links
    ]
    return f"<nav>{' | '.join(items)}</nav>" if items else ""


def _value(value: Any) -> str:
    match value:
        case Mapping():
            rows = [
                f"<tr><th scope=row align=left>{html.escape(str(key))}</th>"
                f"<td>{_value(inner)}</td></tr>"
                for key, inner in value.items()
            ]
            return f"<table>{''.join(rows)}</table>"
        case list():
            return f"<ol>{''.join(f'<li>{_value(inner)}</li>' for inner in value)}</ol>"
        case bool():
            return "true" if value else "false"
        case _:
            return html.escape(str(value))


def _form(action: str, fields: Iterable[str]) -> str:
    inputs = [
        f"<p><label>{html.escape(name)} "
        f'<input name="{html.escape(name)}" type="{_kind(name)}"></label></p>'
        for name in fields
    ]
    hidden = '<input type="hidden" name="f" value="html">'
    return (
        f'<form method="post" action="{html.escape(action)}">{"".join(inputs)}{hidden}'
        "<button>Submit</button></form>"
    )


def _kind(name: str) -> str:
    return "password" if name in ("password", "token") else "text"
