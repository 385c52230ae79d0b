"""Turns one fetched document into text, in a process of its own: what parsers make of hostile input is bounded by the
kernel, and there is nothing here to steal.

Reads the document from stdin; `argv`: kind (html, pdf), address, charset (may be empty), most characters. Writes UTF-8.
"""

from __future__ import annotations

import io
import resource
import sys
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    from bs4 import Tag

CPU_SECONDS = 10
MEMORY_BYTES = 1 << 30
RECURSION_MAX = 5_000
EXIT_UNREADABLE = 3
_DROPPED = ("script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "head")


def main(kind: str, url: str, charset: str, characters_max: int) -> int:
    """Run the process."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # 0 would still give it to a handler
    sys.setrecursionlimit(RECURSION_MAX)
    content = sys.stdin.buffer.read()
    try:
        text = read_pdf(content, characters_max) if kind == "pdf" else read_html(content, url, charset)
    except Exception:  # the top of this process: parsers raise anything
        return EXIT_UNREADABLE
    sys.stdout.buffer.write(text[:characters_max].encode("utf-8", "replace"))
    return 0


def read_html(content: bytes, url: str, charset: str) -> str:
    """Markdown of what a reader of the page would see; links are made absolute."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(content, "html.parser", from_encoding=charset or None)
    title = soup.title.get_text(" ", strip=True) if soup.title is not None else ""
    for tag in soup.find_all(_DROPPED):
        tag.decompose()
    for tag in soup.find_all(_is_hidden):
        tag.decompose()
    for tag in soup.find_all("a", href=True):
        tag["href"] = urljoin(url, str(tag["href"]))
    for tag in soup.find_all("img"):
        tag.replace_with(f"[image: {tag['alt']}]" if tag.get("alt") else "")
    text = str(MarkdownConverter(heading_style="ATX", bullets="-").convert_soup(soup))
    lines = [line.rstrip() for line in text.split("\n")]
    kept = [line for index, line in enumerate(lines) if line or (index > 0 and lines[index - 1])]
    body = "\n".join(kept).strip()
    return f"Title: {title}\n\n{body}" if title else body


def _is_hidden(tag: Tag) -> bool:
    style = str(tag.get("style", "")).replace(" ", "").lower()
    return tag.has_attr("hidden") or "display:none" in style or "visibility:hidden" in style


def read_pdf(content: bytes, characters_max: int) -> str:
    """Text page by page, until there is enough."""
    from pypdf import PdfReader

    parts: list[str] = []
    length = 0
    for number, page in enumerate(PdfReader(io.BytesIO(content)).pages, start=1):
        parts.append(f"[page {number}]\n{page.extract_text()}")
        length += len(parts[-1])
        if length > characters_max:
            break
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
