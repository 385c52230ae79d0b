"""The text of a fetched document: text as it is, HTML and PDF through a process that only reads."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import importlib.util
import sys
from typing import Literal

from remit.toolsets.web.failures import WebFailure
from remit.toolsets.web.fetching import Document

READ_CHARACTERS_MAX = 1_000_000
"""Of a document's text; a tool shows less."""
READ_SECONDS = 20.0
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = frozenset(
    {
        "application/json",
        "application/ld+json",
        "application/x-ndjson",
        "application/xml",
        "application/javascript",
        "application/x-javascript",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/x-sh",
    }
)

Kind = Literal["html", "text", "pdf"]


async def read_document(document: Document) -> str:
    """Raises WebFailure where it cannot be read."""
    kind = kind_of(document)
    if kind == "text":
        return decode(document.content, document.charset)[:READ_CHARACTERS_MAX]
    if kind == "pdf" and importlib.util.find_spec("pypdf") is None:
        raise WebFailure(
            "unsupported_content_type",
            "it is a PDF, and this platform does not read them (its operator can: pip install 'remit[pdf]')",
        )
    return await _read_elsewhere(kind, document)


def kind_of(document: Document) -> Kind:
    """Return the way in which a document is read. Raises WebFailure for what is not text."""
    media_type = document.media_type
    if media_type == "application/pdf" or document.content.startswith(b"%PDF-"):
        return "pdf"
    if media_type in _HTML:
        return "html"
    is_text = media_type.startswith("text/") or media_type in _TEXT or media_type.endswith(("+json", "+xml"))
    if is_text or (media_type == "" and b"\x00" not in document.content):
        return "text"
    raise WebFailure(
        "unsupported_content_type",
        "it is not HTML, text, JSON or PDF",
        quoted=f"content type: {media_type[:100]}" if media_type else None,
    )


def decode(content: bytes, charset: str | None) -> str:
    """Decode by byte order mark, else charset, else as UTF-8; what does not fit is replaced."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    return content.decode(_text_encoding(charset) or "utf-8", "replace")


def _text_encoding(charset: str | None) -> str | None:
    """A charset that Python knows and that is one of text; a page may claim `zlib` or nonsense."""
    try:
        known = codecs.lookup(charset or "utf-8")
        b"x".decode(known.name, "replace")
    except (LookupError, ValueError):
        return None
    return known.name


async def _read_elsewhere(kind: Kind, document: Document) -> str:
    # A surrogate or a NUL could not be an argument; an address has been through the URL parser and has neither.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "remit.toolsets.web.reader_process",
        kind,
        document.url,
        _text_encoding(document.charset) or "" if document.charset else "",
        str(READ_CHARACTERS_MAX),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd="/",
        env={},
    )
    try:
        async with asyncio.timeout(READ_SECONDS):
            output, _ = await process.communicate(document.content)
    except TimeoutError as error:
        raise _unreadable() from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    if process.returncode != 0:
        raise _unreadable()
    return output.decode()


def _unreadable() -> WebFailure:
    return WebFailure("unsupported_content_type", "it is broken or too intricate to be read")
