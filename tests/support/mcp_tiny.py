"""An MCP server of a few lines on the standard library: what runs in any sandbox, and what misbehaves as a test asks."""

import json
import sys
from pathlib import Path
from typing import Any

NAMES = ("echo", "die", "flood", "count", "save")


def answer_to(method: str, parameters: dict[str, Any], count: int) -> dict[str, Any] | None:
    """The result; None for a method that is not known."""
    if method == "initialize":
        return {
            "protocolVersion": parameters["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tiny", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]}
    if method != "tools/call":
        return None
    given = parameters.get("arguments") or {}
    match parameters["name"]:
        case "die":
            sys.exit(3)
        case "flood":
            while True:
                sys.stdout.write("y" * 65_536)
        case "save":
            Path(given["path"]).write_text("saved")
        case _:
            pass
    text = str(count) if parameters["name"] == "count" else json.dumps(given)
    return {"content": [{"type": "text", "text": text}]}


def main() -> None:
    count = 0
    sys.stdout.write("This line is no message, as many programs print them.\n")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        count += message["method"] == "tools/call"
        result = answer_to(message["method"], message.get("params") or {}, count)
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        answer |= {"error": {"code": -32601, "message": "unknown"}} if result is None else {"result": result}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
