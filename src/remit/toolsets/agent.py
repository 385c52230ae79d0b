"""All tools that agents may have."""

from __future__ import annotations

from remit.interfaces import ToolSource
from remit.toolsets.composite import ToolSources
from remit.toolsets.custom import CustomTools
from remit.toolsets.sandbox import SandboxTools
from remit.toolsets.web.tools import WebTools


def agent_tools(*others: ToolSource, web: WebTools | None = None) -> ToolSource:
    """The built-in toolset (without `web` there are no web tools), custom tools, and others."""
    return ToolSources([SandboxTools(), *([web] if web is not None else []), CustomTools(), *others])
