"""A console of rich's whose own styles reach the terminal, and nothing else that could steer it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from remit.hidden import printable


class VisibleConsole(Console):
    """A console of rich that makes text visible: text is escaped, rich's own control pieces are not."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `rich.console.Console`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
