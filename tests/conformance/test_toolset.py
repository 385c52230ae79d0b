"""The agent's tools on real sandboxes."""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.errors import SandboxLost
from remit.ids import Ids
from remit.interfaces import Sandbox, SandboxProvider
from remit.orchestrator.offloading import OFFLOAD_CHARACTERS
from remit.sandboxes.local import LocalProvider
from remit.toolsets.sandbox import SandboxTools
from remit.values import JsonObject, SandboxSpec, ToolContext, ToolResult, ToolUse

pytestmark = pytest.mark.anyio

TOOLS = SandboxTools()
CONTEXT = ToolContext(session_id="sesn_1", thread_id="sthr_1", epoch=1)


@pytest.fixture(params=["local", pytest.param("bubblewrap", marks=pytest.mark.sandbox)])
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandbox]:
    blobs, ids = DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    provider: SandboxProvider
    if request.param == "local":
        provider = LocalProvider(tmp_path / "run", blobs, ids)
    else:
        from remit.sandboxes.bubblewrap.provider import BubblewrapProvider

        provider = BubblewrapProvider(tmp_path / "run", blobs, ids)
    made = await provider.create(SandboxSpec(key="one", epoch=1))
    try:
        yield made
    finally:
        await made.destroy()
        await provider.close()


async def call(sandbox: Sandbox, name: str, **input: object) -> ToolResult:
    use_id = f"sevt_{uuid.uuid4().hex}"
    arguments: JsonObject = {**input}  # type: ignore[dict-item]
    with anyio.fail_after(30):
        return await TOOLS.run(
            ToolUse(id=use_id, name=name, input=arguments, provider_id="toolu_1"), CONTEXT, sandbox
        )


def text(result: ToolResult) -> str:
    return str(result.content[0]["text"])


async def test_a_command_gives_its_output(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", command="echo out; echo err >&2")
    assert (text(result), result.is_error) == ("out\nerr", False)


async def test_a_failed_command_gives_its_output_and_exit_code_as_an_error(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", command="echo nearly; (exit 3)")
    assert (text(result), result.is_error) == ("nearly\n\n[exit code 3]", True)


async def test_the_shell_remembers_until_it_is_restarted(sandbox: Sandbox) -> None:
    await call(sandbox, "bash", command="mkdir -p sub && cd sub && word=kept")
    assert text(await call(sandbox, "bash", command='echo $word; basename "$PWD"')) == "kept\nsub"
    await call(sandbox, "bash", restart=True)
    assert text(await call(sandbox, "bash", command='echo "[$word]"')) == "[]"


async def test_a_time_out_kills_and_says_what_is_lost(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", command="echo begun; sleep 60", timeout_ms=300)
    assert result.is_error
    assert text(result).startswith("begun\n")
    assert "a new shell starts in /workspace" in text(result)
    assert text(result).endswith("cmd > /tmp/cmd.log 2>&1 &]")
    assert text(await call(sandbox, "bash", command="echo again")) == "again"


async def test_a_silent_command_says_so(sandbox: Sandbox) -> None:
    assert text(await call(sandbox, "bash", command="true")) == "(no output)"


async def test_long_output_goes_to_a_file_and_the_model_gets_both_ends(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", command="seq 1 40000; echo the end")
    assert result.offloaded_to is not None
    assert result.offloaded_to in text(result)
    assert "\n1\n2\n" in text(result)
    assert text(result).endswith("the end")
    assert len(text(result)) < 15_000
    found = await call(sandbox, "read", file_path=result.offloaded_to, view_range=[30_000, 30_001])
    assert text(found).endswith("30000\n30001\n")


async def test_an_output_of_megabytes_is_in_its_file_whole(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", command="seq 1 2000000; exit 3")
    assert text(result).startswith("[14,888,896 bytes of output; the whole is in /tmp/remit/outputs/")
    assert text(result).endswith("2000000\n\n[exit code 3]")
    found = await call(
        sandbox, "bash", command=f"grep -cx 1000000 {result.offloaded_to}; wc -c < {result.offloaded_to}"
    )
    assert text(found) == "1\n14888896"


async def test_of_an_output_beyond_the_limit_the_truth_is_told(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", command="head -c 70000000 /dev/zero | tr '\\0' 'y'; echo; echo end")
    kept = 64 << 20
    assert f"[70,000,005 bytes of output; its first {kept:,} bytes are in /tmp/remit/" in text(result)
    assert text(result).endswith("end")
    assert text(await call(sandbox, "bash", command=f"wc -c < {result.offloaded_to}")) == str(kept)


async def test_what_was_written_is_read_back_exactly(sandbox: Sandbox) -> None:
    content = "def f():\n\treturn 'é'\n"
    assert not (await call(sandbox, "write", file_path="/workspace/deep/er/a.py", content=content)).is_error
    assert text(await call(sandbox, "read", file_path="/workspace/deep/er/a.py")) == content
    assert text(await call(sandbox, "read", file_path="deep/er/a.py")) == content


async def test_a_range_of_lines_is_read(sandbox: Sandbox) -> None:
    await call(
        sandbox, "write", file_path="/workspace/a.txt", content="".join(f"{n}\n" for n in range(1, 101))
    )
    result = await call(sandbox, "read", file_path="/workspace/a.txt", view_range=[40, 42])
    assert text(result) == "[/workspace/a.txt: lines 40 to 42; more lines follow]\n40\n41\n42\n"
    beyond = await call(sandbox, "read", file_path="/workspace/a.txt", view_range=[400, -1])
    assert (beyond.is_error, "no line 400" in text(beyond)) == (True, True)


async def test_a_long_file_is_cut_at_a_line_and_says_how_to_read_on(sandbox: Sandbox) -> None:
    await call(sandbox, "bash", command="seq 1 200000 > big.txt")
    result = await call(sandbox, "read", file_path="/workspace/big.txt")
    first, *lines = text(result).splitlines()
    assert f"read on with view_range [{len(lines) + 1}, -1]" in first
    assert lines[-1] == str(len(lines))
    assert len(text(result)) <= OFFLOAD_CHARACTERS
    late = await call(sandbox, "read", file_path="/workspace/big.txt", view_range=[199_999, -1])
    assert text(late).endswith("199999\n200000\n")


async def test_missing_files_and_folders_are_refused_with_a_word(sandbox: Sandbox) -> None:
    for path in ("/workspace/none.py", "/workspace"):
        result = await call(sandbox, "read", file_path=path)
        assert result.is_error
        assert text(result).startswith("read: ")


async def test_a_binary_is_refused(sandbox: Sandbox) -> None:
    await call(sandbox, "bash", command=r"printf '\x7fELF\x00\x01' > prog")
    result = await call(sandbox, "read", file_path="/workspace/prog")
    assert (result.is_error, "is not text" in text(result)) == (True, True)


async def test_an_image_is_returned_as_one(sandbox: Sandbox) -> None:
    picture = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 2, 2) + b"body"
    await sandbox.write_file("/workspace/a.png", picture, epoch=1)
    result = await call(sandbox, "read", file_path="/workspace/a.png")
    assert result.content[0]["type"] == "image"
    assert result.content[0]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(picture).decode(),
    }


async def test_an_edit_changes_only_its_text_and_keeps_mode_and_odd_bytes(sandbox: Sandbox) -> None:
    await sandbox.write_file("/workspace/run.sh", b"#!/bin/sh\necho caf\xe9 one\n", epoch=1, mode=0o755)
    result = await call(sandbox, "edit", file_path="/workspace/run.sh", old_string="one", new_string="two")
    assert text(result) == "Edited /workspace/run.sh in line 2."
    assert (await sandbox.read_file("/workspace/run.sh", epoch=1)).content == b"#!/bin/sh\necho caf\xe9 two\n"
    assert text(await call(sandbox, "bash", command="test -x run.sh && echo yes")) == "yes"


async def test_an_edit_that_does_not_fit_changes_nothing(sandbox: Sandbox) -> None:
    await call(sandbox, "write", file_path="/workspace/a.py", content="x = 1\nx = 1\n")
    result = await call(sandbox, "edit", file_path="/workspace/a.py", old_string="x = 1", new_string="y")
    assert (result.is_error, "occurs 2 times" in text(result)) == (True, True)
    assert text(await call(sandbox, "read", file_path="/workspace/a.py")) == "x = 1\nx = 1\n"


async def test_files_are_found_by_name_and_content(sandbox: Sandbox) -> None:
    await call(
        sandbox, "write", file_path="/workspace/src/a.py", content="TOTAL = 1\n" + "y" * 5000 + " TOTAL\n"
    )
    await call(sandbox, "write", file_path="/workspace/src/b.txt", content="nothing\n")
    assert text(await call(sandbox, "glob", pattern="**/*.py")) == "/workspace/src/a.py"
    assert "No file" in text(await call(sandbox, "glob", pattern="**/*.rs"))
    found = text(await call(sandbox, "grep", pattern="TOTAL")).splitlines()
    assert found[0] == "/workspace/src/a.py:1:TOTAL = 1"
    assert len(found[1]) <= 2001
    assert "No line" in text(await call(sandbox, "grep", pattern="absent"))
    bad = await call(sandbox, "grep", pattern="(")
    assert (bad.is_error, text(bad).startswith("grep: ")) == (True, True)


async def test_many_files_are_cut_at_the_newest(sandbox: Sandbox) -> None:
    await call(sandbox, "bash", command="for i in $(seq 1 230); do : > f$i.txt; done")
    result = text(await call(sandbox, "glob", pattern="*.txt"))
    assert len(result.splitlines()) == 201
    assert "only the 200 newest" in result


async def test_bad_input_never_reaches_the_sandbox(sandbox: Sandbox) -> None:
    result = await call(sandbox, "bash", cmd="touch x")
    assert (result.is_error, "unknown field `cmd`" in text(result)) == (True, True)


async def test_a_lost_sandbox_is_never_shown_as_the_commands_output(sandbox: Sandbox) -> None:
    await sandbox.destroy()
    with pytest.raises(SandboxLost):
        await call(sandbox, "bash", command="echo hi")
