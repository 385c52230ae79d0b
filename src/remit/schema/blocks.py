"""Content blocks that people and clients send."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remit.schema.wire import Params

BLOCKS_MAX = 1_000
TEXT_LENGTH_MAX = 8_000_000

Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]


class Block(Params, frozen=True, omit_defaults=True):
    """Base of blocks: what was not given is not stored."""


class TextBlock(Block, frozen=True, tag="text"):
    """Words."""

    text: Text


class ImageBase64Source(Block, frozen=True, tag="base64"):
    """The image itself."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class DocumentBase64Source(Block, frozen=True, tag="base64"):
    """The document itself."""

    media_type: Literal["application/pdf", "text/plain"]
    data: str


class DocumentTextSource(Block, frozen=True, tag="text"):
    """A plain text document."""

    data: Text
    media_type: Literal["text/plain"]


class UrlSource(Block, frozen=True, tag="url"):
    """Fetched by the model's provider."""

    url: Url


class FileSource(Block, frozen=True, tag="file"):
    """An uploaded file: its content goes to the model."""

    file_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class ImageBlock(Block, frozen=True, tag="image"):
    """A picture."""

    source: ImageBase64Source | UrlSource | FileSource


class DocumentBlock(Block, frozen=True, tag="document"):
    """A document."""

    source: DocumentBase64Source | DocumentTextSource | UrlSource | FileSource
    title: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    context: Text | None = None


class SearchResultText(Block, frozen=True, tag="text"):
    """A passage of a search result."""

    text: Text


class SearchResultCitations(Block, frozen=True):
    """The setting of whether the result may be cited."""

    enabled: bool


class SearchResultBlock(Block, frozen=True, tag="search_result"):
    """One hit of a client's own search."""

    source: str
    title: str
    content: Annotated[list[SearchResultText], msgspec.Meta(min_length=1, max_length=BLOCKS_MAX)]
    citations: SearchResultCitations


class RedactedBlock(Block, frozen=True, tag="redacted"):
    """Read only to be refused by name: it stands for content that was taken away."""

    IS_TOLD = False


MessageBlock = TextBlock | ImageBlock | DocumentBlock | RedactedBlock
ResultBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock
MessageContent = Annotated[list[MessageBlock], msgspec.Meta(min_length=1, max_length=BLOCKS_MAX)]
ResultContent = Annotated[list[ResultBlock], msgspec.Meta(max_length=BLOCKS_MAX)]
SystemContent = Annotated[list[TextBlock], msgspec.Meta(min_length=1, max_length=BLOCKS_MAX)]
