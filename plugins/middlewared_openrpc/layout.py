"""The frame of every page: head, way back, who is looking."""

from middlewared_openrpc.markup import Content, Html, join, tag

__all__ = ["page"]


def page(title: str, *content: Content, root: str, who: str | None) -> Html:
    """Write a page.

    Args:
        title: of the page.
        content: what is in it.
        root: relative path to the index, so that any prefix may stand before it.
        who: user name of who looks, None for somebody not logged in.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} - middlewared"),
        tag("link", rel="icon", href=f"{root}static/docs.svg"),
        tag("link", rel="stylesheet", href=f"{root}static/docs.css"),
        tag("script", src=f"{root}static/docs.js", type="module"),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        _banner(root, who),
        tag("main", content, id="content", tabindex="-1"),
    )
    return join(Html("<!doctype html>"), tag("html", head, body, lang="en"))


def _banner(root: str, who: str | None) -> Html:
    return tag(
        "header",
        tag("a", "middlewared reference", href=root, class_="home"),
        tag("nav", _session(root, who), aria_label="Session"),
    )


def _session(root: str, who: str | None) -> Content:
    if who is None:
        return tag("a", "Log in", href=f"{root}login")
    return tag(
        "form",
        tag("span", f"Logged in as {who} "),
        tag("button", "Log out", type="submit"),
        method="post",
        action=f"{root}logout",
    )
