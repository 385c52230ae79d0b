"""The tools of `agent_toolset_20260401` that act in a sandbox: bash, read, write, edit, glob, grep."""

from __future__ import annotations

import base64
import posixpath
import re
from typing import assert_never

from remit.errors import SandboxRefused
from remit.interfaces import Sandbox, ToolSession, Toolset, ToolSource
from remit.orchestrator.offloading import OFFLOAD_CHARACTERS, kept_at, preview
from remit.output_text import clean
from remit.session.images import IMAGE_BYTES_MAX, ImageKind, recognise_image, why_refused
from remit.toolsets.editing import EditRefused, replace_text
from remit.toolsets.inputs import (
    BASH_TIMEOUT_MS,
    BASH_TIMEOUT_MS_MAX,
    WORKING_TREE,
    BadToolInput,
    BashInput,
    EditInput,
    GlobInput,
    GrepInput,
    ReadInput,
    WriteInput,
    definitions,
    parse_input,
)
from remit.toolsets.offers import OfferedTools, builtin_tools
from remit.toolsets.reading import Excerpt, LinePicker, is_binary
from remit.values import ExecResult, JsonValue, ShellRequest, ToolContext, ToolResult, ToolUse

BASH_OUTPUT_BYTES_MAX = 1 << 20
"""What the sandbox keeps of a command's output; what is above the offload limit goes to a file."""
READ_PIECE_BYTES = 262_144
READ_SCANNED_BYTES_MAX = 64 << 20
"""How far into a file `view_range` looks."""
EDIT_BYTES_MAX = 4 << 20
GLOB_RESULTS_MAX = 200
GREP_OUTPUT_BYTES_MAX = 102_400
GREP_LINE_CHARACTERS_MAX = 2000
_LEFT_OUT = re.compile(r"\[… [\d,]+ characters left out …\]")


class SandboxTools(ToolSource):
    """Carries out the tools that act in a sandbox. Has no state: everything is there."""

    def __init__(self) -> None:
        self._tools = definitions()

    async def open(self, session: ToolSession) -> Toolset:
        return OfferedTools(builtin_tools(session.agent, self._tools), self)

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        """See Toolset."""
        try:
            parse_input(name, input)
        except BadToolInput as error:
            return str(error)
        return None

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        """See Toolset."""
        assert sandbox is not None, "they say that they need one"
        try:
            parsed = parse_input(use.name, use.input)
            match parsed:
                case BashInput():
                    return await _bash(parsed, use, context, sandbox)
                case ReadInput():
                    return await _read(parsed, context, sandbox)
                case WriteInput():
                    return await _write(parsed, context, sandbox)
                case EditInput():
                    return await _edit(parsed, context, sandbox)
                case GlobInput():
                    return await _glob(parsed, context, sandbox)
                case GrepInput():
                    return await _grep(parsed, context, sandbox)
                case _:
                    assert_never(parsed)
        except (BadToolInput, EditRefused) as error:
            return _failure(str(error))
        except SandboxRefused as error:
            return _failure(f"{use.name}: {error.message}")


def _success(text: str) -> ToolResult:
    return ToolResult(content=({"type": "text", "text": text},))


def _failure(text: str) -> ToolResult:
    return ToolResult(content=({"type": "text", "text": text},), is_error=True)


def _absolute(path: str | None) -> str:
    return posixpath.join(WORKING_TREE, path) if path else WORKING_TREE


async def _bash(input: BashInput, use: ToolUse, context: ToolContext, sandbox: Sandbox) -> ToolResult:
    if input.command is None or input.restart:
        await sandbox.restart_shell(epoch=context.epoch)
        return _success("The shell was restarted in /workspace.")
    timeout_ms = min(input.timeout_ms or BASH_TIMEOUT_MS, BASH_TIMEOUT_MS_MAX)
    result = await sandbox.shell(
        ShellRequest(
            call_id=use.id,
            epoch=context.epoch,
            command=input.command,
            timeout_seconds=timeout_ms / 1000,
            output_bytes_max=BASH_OUTPUT_BYTES_MAX,
            keep_at=kept_at(use.id),
        )
    )
    output = clean(result.output).rstrip("\n")
    ending = _ending(result, timeout_ms)
    if len(output) > OFFLOAD_CHARACTERS and (result.kept_bytes or result.is_truncated):
        return _kept(output, result, ending, kept_at(use.id))
    if ending is None:
        return _success(output or "(no output)")
    return _failure(f"{output}\n\n{ending}" if output else ending)


def _kept(output: str, result: ExecResult, ending: str | None, path: str) -> ToolResult:
    """A preview of a long output, and what of it is in the file: said as it is."""
    total = result.output_bytes_total
    if result.kept_bytes == 0:
        where = "none of it could be kept in a file (is /tmp full?)"
    elif result.kept_bytes < total:
        where = f"its first {result.kept_bytes:,} bytes are in {path}, the rest is not kept"
    else:
        where = f"the whole is in {path}"
    note = f"[{total:,} bytes of output; {where}: search it with grep or read a view_range. Its beginning and end:]"
    # What is shown is cut from a part; how much is missing of all is said above.
    shown = _LEFT_OUT.sub("[… the middle is left out …]", preview(output))
    text = f"{note}\n{shown}" + (f"\n\n{ending}" if ending is not None else "")
    return ToolResult(
        content=({"type": "text", "text": text},),
        is_error=ending is not None,
        offloaded_to=path if result.kept_bytes else None,
    )


def _ending(result: ExecResult, timeout_ms: int) -> str | None:
    """What to say of a command that did not end with 0; what became of the shell stands in its output."""
    if result.is_timed_out:
        return (
            f"[killed after {timeout_ms / 1000:g} s. Run what takes long in the background and look at its log: "
            "cmd > /tmp/cmd.log 2>&1 &]"
        )
    if result.exceeded is not None:
        return f"[killed: out of {result.exceeded}]"
    if result.exit_code is None:
        return "[interrupted: the command was killed before it ended]"
    return None if result.exit_code == 0 else f"[exit code {result.exit_code}]"


async def _read(input: ReadInput, context: ToolContext, sandbox: Sandbox) -> ToolResult:
    path = _absolute(input.file_path)
    piece = await sandbox.read_file(path, epoch=context.epoch, limit=READ_PIECE_BYTES)
    image = recognise_image(piece.content)
    if image is not None:
        return await _read_image(path, image, piece.size, context, sandbox)
    if is_binary(piece.content):
        return _failure(
            f"read: {path} is not text ({piece.size:,} bytes{_guess(piece.content)}), so it is not shown. "
            "Look at it with a program in bash, e.g. file, xxd or python3."
        )
    start, end = input.view_range or (1, -1)
    picker = LinePicker(
        first=start, last=None if end == -1 else end, characters_max=OFFLOAD_CHARACTERS - 1000
    )
    picker.add(piece.content)
    seen = len(piece.content)
    is_end = not piece.is_truncated
    while not is_end and not picker.is_full and seen < READ_SCANNED_BYTES_MAX:
        piece = await sandbox.read_file(path, epoch=context.epoch, offset=seen, limit=READ_PIECE_BYTES)
        picker.add(piece.content)
        seen += len(piece.content)
        is_end = not piece.content or seen >= piece.size
    return _shown(path, picker.finish(is_end=is_end), piece.size, has_range=input.view_range is not None)


def _shown(path: str, excerpt: Excerpt, size: int, *, has_range: bool) -> ToolResult:
    if not excerpt.text:
        if size == 0:
            return _success(f"({path} is empty)")
        return _failure(
            f"read: {path} has no line {excerpt.first}: it ends before, or the line is beyond the first "
            f"{READ_SCANNED_BYTES_MAX >> 20} MiB."
        )
    if excerpt.is_end and excerpt.first == 1:
        return _success(excerpt.text)
    where = f"[{path}: lines {excerpt.first} to {excerpt.last}"
    if excerpt.is_end:
        where += ", the end of the file]"
    elif has_range:
        where += "; more lines follow]"
    else:
        where += f" of a file of {size:,} bytes; read on with view_range [{excerpt.last + 1}, -1] or look for the part with grep]"
    return _success(f"{where}\n{excerpt.text}")


async def _read_image(
    path: str, image: ImageKind, size: int, context: ToolContext, sandbox: Sandbox
) -> ToolResult:
    refusal = why_refused(image, size)
    if refusal is not None:
        return _failure(f"read: {path} {refusal}")
    whole = await sandbox.read_file(path, epoch=context.epoch, limit=IMAGE_BYTES_MAX)
    # The file may have changed since its first bytes were looked at.
    again = recognise_image(whole.content)
    if again is None or why_refused(again, whole.size) is not None:
        return _failure(f"read: {path} changed while it was read. Read it again.")
    data = base64.b64encode(whole.content).decode()
    source: dict[str, JsonValue] = {"type": "base64", "media_type": again.media_type, "data": data}
    return ToolResult(content=({"type": "image", "source": source},))


def _guess(content: bytes) -> str:
    known = {b"%PDF": "a PDF", b"PK\x03\x04": "a zip archive", b"\x7fELF": "a program", b"\x1f\x8b": "gzip"}
    return next((f", {what}" for start, what in known.items() if content.startswith(start)), "")


async def _write(input: WriteInput, context: ToolContext, sandbox: Sandbox) -> ToolResult:
    path = _absolute(input.file_path)
    content = input.content.encode()
    await sandbox.write_file(path, content, epoch=context.epoch)
    return _success(f"Wrote {path} ({len(content):,} bytes).")


async def _edit(input: EditInput, context: ToolContext, sandbox: Sandbox) -> ToolResult:
    path = _absolute(input.file_path)
    file = await sandbox.read_file(path, epoch=context.epoch, limit=EDIT_BYTES_MAX)
    if file.is_truncated:
        return _failure(
            f"edit: {path} has {file.size:,} bytes; edit takes at most {EDIT_BYTES_MAX:,}. Use sed or python3 in bash."
        )
    if is_binary(file.content):
        return _failure(f"edit: {path} is not text. Change it with a program in bash.")
    # surrogateescape keeps bytes that are not UTF-8 exactly as they are.
    text = file.content.decode("utf-8", errors="surrogateescape")
    try:
        edited = replace_text(
            text, old=input.old_string, new=input.new_string, is_everywhere=bool(input.replace_all)
        )
    except EditRefused as error:
        message = str(error).encode("utf-8", errors="replace").decode()
        return _failure(f"edit: {path}: {message}")
    await sandbox.write_file(path, edited.text.encode("utf-8", errors="surrogateescape"), epoch=context.epoch)
    count = len(edited.lines)
    return _success(
        f"Edited {path} in line {edited.lines[0]}."
        if count == 1
        else f"Edited {path} in {count} places, the first in line {edited.lines[0]}."
    )


async def _glob(input: GlobInput, context: ToolContext, sandbox: Sandbox) -> ToolResult:
    folder = _absolute(input.path)
    paths = await sandbox.glob(input.pattern, folder, epoch=context.epoch, limit=GLOB_RESULTS_MAX + 1)
    if not paths:
        return _success(f"No file in {folder} matches {input.pattern}.")
    shown = "\n".join(paths[:GLOB_RESULTS_MAX])
    if len(paths) > GLOB_RESULTS_MAX:
        shown += f"\n[only the {GLOB_RESULTS_MAX} newest are shown: use a narrower pattern or path]"
    return _success(shown)


async def _grep(input: GrepInput, context: ToolContext, sandbox: Sandbox) -> ToolResult:
    path = _absolute(input.path)
    found = await sandbox.grep(
        input.pattern, path, epoch=context.epoch, output_bytes_max=GREP_OUTPUT_BYTES_MAX
    )
    if not found.strip():
        return _success(f"No line in {path} matches {input.pattern}.")
    return _success("\n".join(_short_line(line) for line in clean(found).rstrip("\n").split("\n")))


def _short_line(line: str) -> str:
    return line if len(line) <= GREP_LINE_CHARACTERS_MAX else f"{line[:GREP_LINE_CHARACTERS_MAX]}…"
