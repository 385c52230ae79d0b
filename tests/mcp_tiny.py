"""An MCP server of a few lines on the standard library: what runs in any sandbox, and what misbehaves as a test asks."""

import json
import sys

TOOLS = [
    {"name": "echo", "inputSchema": {"type": "object"}},
    {"name": "die", "inputSchema": {"type": "object"}},
    {"name": "flood", "inputSchema": {"type": "object"}},
    {"name": "count", "inputSchema": {"type": "object"}},
    {"name": "save", "inputSchema": {"type": "object"}},
]


def main() -> None:
    count = 0
    print("This line is no message, as many programs print them.", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        method, parameters = message["method"], message.get("params") or {}
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "initialize":
            answer["result"] = {
                "protocolVersion": parameters["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "tiny", "version": "1"},
            }
        elif method == "tools/list":
            answer["result"] = {"tools": TOOLS}
        elif method == "tools/call":
            count += 1
            name, given = parameters["name"], parameters.get("arguments") or {}
            if name == "die":
                sys.stderr.write("the forge is cold\n")
                sys.exit(3)
            if name == "flood":
                while True:
                    sys.stdout.write("y" * 65_536)
            if name == "save":
                with open(
                    "/workspace/saved.txt" if given.get("here") is None else given["here"], "w"
                ) as file:
                    file.write("saved")
            text = str(count) if name == "count" else json.dumps(given)
            answer["result"] = {"content": [{"type": "text", "text": text}]}
        else:
            answer["error"] = {"code": -32601, "message": "no such method"}
        print(json.dumps(answer), flush=True)


main()
