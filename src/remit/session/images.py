"""Images that may go to a model, by the limits that Messages publishes (build-with-claude/vision; the API's
own words for bytes). Pure: looks at the first bytes only.

A provider refuses a request with an image it cannot take, and would refuse every later one of the same history.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass

IMAGE_BYTES_MAX = 3_750_000
"""5 MB once encoded as base64."""
IMAGE_ENCODED_BYTES_MAX = 5 << 20
"""Of base64, as the API counts."""
IMAGE_SIDE_PIXELS_MAX = 2000
"""What providers take in a request with many images."""
LONE_IMAGE_SIDE_PIXELS_MAX = 8000
"""What they take in one with up to MANY_IMAGES."""
MANY_IMAGES = 20
IMAGES_MAX = 100
"""In one request."""
_HEAD_CHARACTERS = 262_144
"""Of base64 that are looked at: a camera's JPEG has tens of kilobytes before its size."""


@dataclass(frozen=True)
class ImageKind:
    """A recognised image; the size is None where the header does not tell."""

    media_type: str
    width: int | None
    height: int | None


def recognise_image(content: bytes) -> ImageKind | None:
    """The kind of image these bytes begin, or None."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _sized("image/png", _unpack(">II", content, 16))
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _sized("image/gif", _unpack("<HH", content, 6))
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _sized("image/webp", _webp_size(content))
    if content.startswith(b"\xff\xd8\xff"):
        return _sized("image/jpeg", _jpeg_size(content))
    return None


def recognise_encoded(data: str) -> ImageKind | None:
    """The kind of image in this base64, or None."""
    head = data[: min(len(data), _HEAD_CHARACTERS) // 4 * 4]
    try:
        return recognise_image(base64.b64decode(head, validate=True))
    except (binascii.Error, ValueError):
        return None


def why_unsendable(data: str) -> str | None:
    """Say for people what keeps this base64 from any request; None if nothing does."""
    if len(data) > IMAGE_ENCODED_BYTES_MAX:
        return f"the image has {len(data):,} bytes of base64, and models take at most {IMAGE_ENCODED_BYTES_MAX:,}"
    if len(data) % 4:
        return "it is no base64: its length is no multiple of 4"
    image = recognise_encoded(data)
    if image is None:
        return "it is no JPEG, PNG, GIF or WebP image"
    if image.width is None or image.height is None:
        return f"it begins like {image.media_type} and its header cannot be read"
    if not min(image.width, image.height) or max(image.width, image.height) > LONE_IMAGE_SIDE_PIXELS_MAX:
        return (
            f"the image is {image.width} x {image.height} pixels, and models take sides of 1 to "
            f"{LONE_IMAGE_SIDE_PIXELS_MAX}"
        )
    return None


def why_refused(image: ImageKind, size_bytes: int) -> str | None:
    """Say for the model what keeps this image from it; None if nothing does."""
    if size_bytes > IMAGE_BYTES_MAX:
        return f"has {size_bytes:,} bytes; at most {IMAGE_BYTES_MAX:,} can be shown. Make a smaller copy."
    if image.width is None or image.height is None:
        return f"looks like {image.media_type} but its header cannot be read, so it is not shown."
    if not 0 < max(image.width, image.height) <= IMAGE_SIDE_PIXELS_MAX or not min(image.width, image.height):
        return (
            f"is {image.width} x {image.height} pixels; a side may have 1 to {IMAGE_SIDE_PIXELS_MAX}. "
            "Make a smaller copy."
        )
    return None


def _sized(media_type: str, size: tuple[int, int] | None) -> ImageKind:
    return ImageKind(media_type, *(size or (None, None)))


def _unpack(form: str, content: bytes, offset: int) -> tuple[int, int] | None:
    try:
        first, second = struct.unpack_from(form, content, offset)
    except struct.error:
        return None
    return first, second


def _webp_size(content: bytes) -> tuple[int, int] | None:
    match content[12:16]:
        case b"VP8X" if len(content) >= 30:
            return (
                int.from_bytes(content[24:27], "little") + 1,
                int.from_bytes(content[27:30], "little") + 1,
            )
        case b"VP8L" if len(content) >= 25:
            bits = int.from_bytes(content[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if (size := _unpack("<HH", content, 26)) is not None:
            return size[0] & 0x3FFF, size[1] & 0x3FFF
        case _:
            return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = _unpack(">HH", content, at + 5)
            return None if size is None else (size[1], size[0])
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
