"""Inputs of tools: the schema the model is shown and the struct its input is checked against."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import msgspec

from remit.values import UNPARSED_INPUT, JsonObject, JsonValue, Tool

BASH_TIMEOUT_MS = 120_000
BASH_TIMEOUT_MS_MAX = 150_000
WORKING_TREE = "/workspace"
UNPARSED_SHOWN_MAX = 200
"""Characters of arguments that cannot be read, as the model is shown them."""

_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Line = Annotated[int, msgspec.Meta(ge=-1)]


class BashInput(msgspec.Struct, forbid_unknown_fields=True):
    """Input of `bash`."""

    command: str | None = None
    restart: bool | None = None
    timeout_ms: Annotated[int, msgspec.Meta(ge=1)] | None = None


class ReadInput(msgspec.Struct, forbid_unknown_fields=True):
    """Input of `read`."""

    file_path: _Path
    view_range: Annotated[list[_Line], msgspec.Meta(min_length=2, max_length=2)] | None = None


class WriteInput(msgspec.Struct, forbid_unknown_fields=True):
    """Input of `write`."""

    file_path: _Path
    content: str


class EditInput(msgspec.Struct, forbid_unknown_fields=True):
    """Input of `edit`."""

    file_path: _Path
    old_string: str
    new_string: str
    replace_all: bool | None = None


class GlobInput(msgspec.Struct, forbid_unknown_fields=True):
    """Input of `glob`."""

    pattern: _Path
    path: _Path | None = None


class GrepInput(msgspec.Struct, forbid_unknown_fields=True):
    """Input of `grep`."""

    pattern: _Path
    path: _Path | None = None


ToolInput = BashInput | ReadInput | WriteInput | EditInput | GlobInput | GrepInput

_INPUTS: dict[str, type[ToolInput]] = {
    "bash": BashInput,
    "read": ReadInput,
    "write": WriteInput,
    "edit": EditInput,
    "glob": GlobInput,
    "grep": GrepInput,
}


class BadToolInput(Exception):
    """The model's input does not fit; the message is for the model."""


def parse_input(name: str, input: dict[str, JsonValue]) -> ToolInput:
    """The typed input of a tool. Raises BadToolInput with what is wrong and what the tool takes."""
    struct = _INPUTS.get(name)
    if struct is None:
        raise BadToolInput(f"There is no tool {name!r}. The tools are: {', '.join(_INPUTS)}.")
    refuse_unparsed(name, input, takes=_fields(name))
    try:
        parsed = msgspec.convert(input, type=struct)
    except msgspec.ValidationError as error:
        raise BadToolInput(f"{name}: {error}. It takes {_fields(name)}.") from error
    wrong = _wrong_text(name, input) or _wrong_value(parsed)
    if wrong is not None:
        raise BadToolInput(f"{name}: {wrong}")
    return parsed


def refuse_unparsed(name: str, input: dict[str, JsonValue], *, takes: str) -> None:
    """Raises BadToolInput where what the model wrote as arguments is no JSON object."""
    if set(input) == {UNPARSED_INPUT}:
        shown = str(input[UNPARSED_INPUT])
        shown = shown if len(shown) <= UNPARSED_SHOWN_MAX else f"{shown[:UNPARSED_SHOWN_MAX]} …"
        raise BadToolInput(
            f"{name}: what you wrote as arguments is not one JSON object, so nothing was run: {shown}\n"
            f"Call it again with one JSON object. It takes {takes}."
        )


@cache
def _fields(name: str) -> str:
    fields = msgspec.structs.fields(_INPUTS[name])
    return ", ".join(field.name if field.required else f"{field.name} (optional)" for field in fields)


def _wrong_text(name: str, input: dict[str, JsonValue]) -> str | None:
    for field, value in input.items():
        if not isinstance(value, str):
            continue
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{field} holds a lone surrogate, which is not a character: write it as UTF-8 text."
        if "\x00" in value and (name, field) != ("write", "content"):
            return f"{field} holds a NUL character, which no command or path can."
    return None


def _wrong_value(parsed: ToolInput) -> str | None:
    match parsed:
        case BashInput(command=command, restart=restart):
            if not restart and not (command or "").strip():
                return 'give a command, or {"restart": true} to start the shell afresh.'
            if restart and command:
                return "give either a command or restart, not both: restart first, then run the command."
        case ReadInput(view_range=[start, end]):
            if start < 1 or (end != -1 and end < start):
                return f"view_range [{start}, {end}] is no range: lines count from 1, the end is not before the start (-1: the last line)."
        case EditInput(old_string=old, new_string=new):
            if not old:
                return "old_string is empty: give the exact text to replace, or use write for a new file."
            if old == new:
                return "old_string and new_string are the same, so nothing would change."
        case _:
            pass
    return None


def _tool(
    name: str,
    description: str,
    required: list[str],
    properties: JsonObject,
    *,
    is_concurrent: bool = False,
    may_change_files: bool = False,
) -> Tool:
    return Tool(
        name=name,
        description=description,
        input_schema={
            "type": "object",
            "properties": properties,
            "required": [*required],
            "additionalProperties": False,
        },
        needs_sandbox=True,
        is_concurrent=is_concurrent,
        may_change_files=may_change_files,
    )


def _text(description: str) -> JsonObject:
    return {"type": "string", "description": description}


_FILE_PATH = "Absolute path, e.g. /workspace/src/app.py"


def definitions() -> tuple[Tool, ...]:
    """The tools in a fixed order."""
    return (
        _tool(
            "bash",
            "Run a command in a persistent bash shell that starts in /workspace. The working directory, variables and "
            "background processes stay from one call to the next. Returns stdout and stderr together, and the exit code "
            "when it is not 0.\n"
            "- Use it to run tests, programs and git. To look at or change files use read, grep, glob, edit and write.\n"
            "- Never start anything that waits for a keypress (editors, pagers, prompts): pass -y, --no-pager and the like.\n"
            "- Start servers and long jobs in the background and look at their log later: cmd > /tmp/cmd.log 2>&1 &\n"
            "- On time-out the command is killed and the shell starts afresh in /workspace. "
            "There is no network unless you were told so.",
            [],
            {
                "command": _text("The command. May have several lines."),
                "restart": {
                    "type": "boolean",
                    "description": "true: kill the shell and its processes and start a new one. Without command.",
                },
                "timeout_ms": {
                    "type": "integer",
                    "minimum": 1,
                    "description": f"Time-out in milliseconds. Default {BASH_TIMEOUT_MS}; anything above {BASH_TIMEOUT_MS_MAX} counts as {BASH_TIMEOUT_MS_MAX}.",
                },
            },
            may_change_files=True,
        ),
        _tool(
            "read",
            "Read a text file, or look at an image (png, jpg, gif, webp). Text comes back exactly as it is in the file, "
            "without line numbers, so you can copy from it into edit. A long file is cut and you are told how to read on: "
            "give view_range for the part you need (grep tells you line numbers).",
            ["file_path"],
            {
                "file_path": _text(_FILE_PATH),
                "view_range": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "minItems": 2,
                    "maxItems": 2,
                    "description": "[first line, last line], counted from 1; -1 as the last line means the end",
                },
            },
            is_concurrent=True,
        ),
        _tool(
            "write",
            "Create a file or replace all of it. Missing folders are made. To change a part of a file use edit: it is "
            "shorter and cannot lose the rest.",
            ["file_path", "content"],
            {"file_path": _text(_FILE_PATH), "content": _text("The whole new content")},
            may_change_files=True,
        ),
        _tool(
            "edit",
            "Replace text in a file. old_string must be exactly as in the file, with its indentation, and must occur only "
            "once: add neighbouring lines until it does, or set replace_all. Read the file first. If nothing matches you "
            "are shown the closest lines.",
            ["file_path", "old_string", "new_string"],
            {
                "file_path": _text(_FILE_PATH),
                "old_string": _text("The text to replace"),
                "new_string": _text("The text to put there; empty deletes"),
                "replace_all": {"type": "boolean", "description": "Replace every occurrence. Default false."},
            },
            may_change_files=True,
        ),
        _tool(
            "glob",
            "Find files by name. ** goes through folders: **/*.py, src/**/test_*.ts. Returns absolute paths, newest first, "
            "at most 200.",
            ["pattern"],
            {
                "pattern": _text("Relative to path"),
                "path": _text("Folder to look in. Default /workspace."),
            },
            is_concurrent=True,
        ),
        _tool(
            "grep",
            "Search file contents with a Python regular expression, e.g. def \\w+_total or TODO. Returns path:line:text for "
            "each matching line. Use it to find where something is before you read.",
            ["pattern"],
            {
                "pattern": _text("Regular expression; escape ( ) [ ] { } . * + ? to search for them"),
                "path": _text("Folder or file to search. Default /workspace."),
            },
            is_concurrent=True,
        ),
    )
