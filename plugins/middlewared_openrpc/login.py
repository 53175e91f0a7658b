"""The form to log in with."""

from collections.abc import Iterator

from middlewared_openrpc.markup import Html, join, tag

__all__ = ["login_form"]


def login_form(wrong: str) -> Iterator[Html]:
    """Write the form.

    Args:
        wrong: what was wrong with the last try; empty before the first.
    """
    yield tag("h1", "Log in")
    yield tag("p", "To see what you may call and watch. It logs in to nothing else.")
    if wrong:
        yield tag("p", wrong, role="alert", class_="wrong")
    yield tag(
        "form",
        _field("Name", "username", "text", "username"),
        _field("Password", "password", "password", "current-password"),
        tag("button", "Log in", type="submit"),
        method="post",
        action="login",
        class_="login",
    )


def _field(label: str, name: str, kind: str, completion: str) -> Html:
    return join(
        tag("label", label, for_=name),
        tag(
            "input",
            id=name,
            name=name,
            type=kind,
            autocomplete=completion,
            required=True,
        ),
    )
