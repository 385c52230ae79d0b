"""Markup that is safe by construction: text becomes markup only by being escaped, and elements only by `tag`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from remit.hidden import printable

VOID = frozenset({"meta", "link"})


class Markup(str):
    """Markup as it is. Made by this module alone; any other text is escaped where it is placed."""

    __slots__ = ()


Child = Markup | str | None
Attribute = str | int | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element. Attributes: `class_` is `class`, `data_id` is `data-id`; None and False are left out. Names are always
    literals of the caller, never data."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """Join pieces of markup, one after the other."""
    return Markup("".join(_child(child) for child in children))


def style(sheet: str) -> Markup:
    """A style sheet of this package, which is no text to be escaped."""
    assert "</" not in sheet
    return Markup(f"<style>{sheet}</style>")


def document(head: Markup, body: Markup) -> bytes:
    """A whole page."""
    html = tag("html", tag("head", head), body, lang="en")
    return f"<!doctype html>\n{html}\n".encode()


def _child(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Markup) else escape(printable(child), quote=False)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escape(printable(str(value)))}"'
