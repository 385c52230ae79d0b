"""A console of rich's whose own styles reach the terminal, and nothing else that could steer it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from remit.hidden import printable


class VisibleConsole(Console):
    """What is rendered comes as pieces of text, and as control pieces of rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `rich.console.Console`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
