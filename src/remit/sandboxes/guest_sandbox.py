"""A sandbox in which execd runs; the same for every provider that can start it and hand over its control socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from remit.errors import SandboxLost, SandboxRefused
from remit.interfaces import Listening
from remit.sandboxes.cgroups import Cgroup
from remit.sandboxes.connection import ANSWER_SECONDS, GuestAnswer, GuestConnection
from remit.sandboxes.mounts import HOSTED_WORKSPACE
from remit.sandboxes.recorder import TreeRecorder
from remit.sandboxes.socket_channel import SocketChannel
from remit.values import (
    GROUND_FILES,
    CallStatus,
    CredentialUse,
    ExecRequest,
    ExecResult,
    FileRead,
    JsonObject,
    JsonValue,
    LeftOut,
    ProcessRequest,
    Service,
    ShellRequest,
    Tree,
    TreeEntry,
    TreeRecord,
)

OUT_OF_MEMORY = "out_of_memory"
"""The code of SandboxLost when memory was the cause."""
UNRECORDED = TreeRecord(
    mechanism="none", is_complete=False, why_not="this sandbox was made without a ground: nobody looked"
)
_FETCH_PATHS_MAX = 500


class _Row(msgspec.Struct, array_like=True, frozen=True):
    path: str
    kind: Literal["file", "dir", "symlink"]
    mode: int
    size: int
    mtime_ns: int
    sha256: str | None
    target: str | None


class _Manifest(msgspec.Struct, frozen=True):
    entries: tuple[_Row, ...]
    links: tuple[tuple[str, ...], ...]
    left_out: tuple[tuple[str, str], ...]
    left_out_more: int


class GuestSandbox:
    """Implements `interfaces.Sandbox` over a connection."""

    def __init__(
        self,
        *,
        id: str,
        key: str,
        connection: GuestConnection,
        channel: SocketChannel,
        output_bytes_max: int,
        read_only_paths: Sequence[str],
        cgroup: Cgroup | None,
        recorder: TreeRecorder | None,
        files_at: str,
        destroy: Callable[[GuestSandbox], Awaitable[None]],
        take_uses: Callable[[], Sequence[CredentialUse]],
        replace_shared: Callable[[str, str | None], Awaitable[bool]],
    ) -> None:
        self.id = id
        self.key = key
        self._connection = connection
        self._channel = channel
        self._output_bytes_max = output_bytes_max
        self._read_only_paths = tuple(read_only_paths)
        self._cgroup = cgroup
        self.recorder = recorder
        self._files_at = files_at
        self._died_of_memory = False
        self._destroy = destroy
        self._take_uses = take_uses
        self._replace_shared = replace_shared
        self._walked: set[str] = set()
        self._is_destroyed = False

    async def shell(self, request: ShellRequest) -> ExecResult:
        self._require_recording()
        fields: JsonObject = {
            "call_id": request.call_id,
            "epoch": request.epoch,
            "timeout_seconds": request.timeout_seconds,
            "output_bytes_max": min(request.output_bytes_max, self._output_bytes_max),
            "keep_at": request.keep_at,
        }
        command = request.command.encode("utf-8", "surrogateescape")
        patience = request.timeout_seconds + ANSWER_SECONDS
        return self._judged(await self._call("shell", fields, command, patience_seconds=patience))

    async def restart_shell(self, *, epoch: int) -> None:
        await self._call("restart_shell", {"epoch": epoch})

    async def exec(self, request: ExecRequest) -> ExecResult:
        self._require_recording()
        fields: JsonObject = {
            "call_id": request.call_id,
            "epoch": request.epoch,
            "argv": list[JsonValue](request.argv),
            "working_directory": request.working_directory,
            "environment": {
                name: value.replace(GROUND_FILES, self._files_at)
                for name, value in request.environment.items()
            },
            "timeout_seconds": request.timeout_seconds,
            "output_bytes_max": min(request.output_bytes_max, self._output_bytes_max),
        }
        patience = request.timeout_seconds + ANSWER_SECONDS
        return self._judged(await self._call("exec", fields, request.stdin, patience_seconds=patience))

    async def open_process(self, request: ProcessRequest) -> socket.socket:
        self._require_recording()
        tag = self._channel.tag()
        fields: JsonObject = {
            "tag": tag,
            "call_id": request.call_id,
            "epoch": request.epoch,
            "argv": list[JsonValue](request.argv),
            "working_directory": request.working_directory,
            "environment": dict[str, JsonValue](request.environment),
            "output_bytes_max": min(request.errors_bytes_max, self._output_bytes_max),
        }
        await self._call("open_process", fields)
        return self._channel.take(tag)

    async def read_file(self, path: str, *, epoch: int, offset: int = 0, limit: int = 262_144) -> FileRead:
        await self._stop_recording(path)
        answer = await self._call("read", {"path": path, "epoch": epoch, "offset": offset, "limit": limit})
        size = int(answer.header["size"])
        content = answer.payload
        return FileRead(content=content, size=size, is_truncated=offset + len(content) < size)

    async def write_file(self, path: str, content: bytes, *, epoch: int, mode: int | None = None) -> None:
        await self._call("write", {"path": path, "epoch": epoch, "mode": mode}, content)

    async def glob(self, pattern: str, path: str, *, epoch: int, limit: int = 200) -> Sequence[str]:
        await self._stop_recording(path)
        answer = await self._call("glob", {"pattern": pattern, "path": path, "epoch": epoch, "limit": limit})
        return msgspec.json.decode(answer.payload, type=list[str])

    async def grep(
        self,
        pattern: str,
        path: str,
        *,
        epoch: int,
        output_bytes_max: int = 102_400,
        include: str | None = None,
    ) -> str:
        await self._stop_recording(path)
        fields: JsonObject = {
            "pattern": pattern,
            "path": path,
            "epoch": epoch,
            "output_bytes_max": output_bytes_max,
            "include": include,
        }
        return (await self._call("grep", fields)).payload.decode("utf-8", "replace")

    async def tree(self, root: str = "/workspace", previous: Tree | None = None) -> Tree:
        """See `interfaces.Sandbox`. After the first time the daemon itself remembers, more exactly than `previous`."""
        await self._stop_recording(root)
        known = b""
        if previous is not None and root not in self._walked:
            rows = [(e.path, e.size, e.mtime_ns, e.sha256) for e in previous.entries if e.kind == "file"]
            known = msgspec.json.encode(rows)
        skip = list[JsonValue](path for path in self._read_only_paths if path.startswith(root + "/"))
        answer = await self._call("tree", {"root": root, "skip": skip}, known)
        self._walked.add(root)
        found = msgspec.json.decode(answer.payload, type=_Manifest)
        return Tree(
            entries=tuple(TreeEntry(**msgspec.structs.asdict(row)) for row in found.entries),
            links=found.links,
            left_out=tuple(LeftOut(path=path, why=why) for path, why in found.left_out),
            left_out_more=found.left_out_more,
        )

    async def fetch(self, root: str, paths: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        await self._stop_recording(root)
        start = 0
        pieces: list[bytes] = []
        offset = 0
        while start < len(paths):
            batch = list(paths[start : start + _FETCH_PATHS_MAX])
            answer = await self._call("fetch", {"root": root, "offset": offset}, msgspec.json.encode(batch))
            at = 0
            parts: list[tuple[int, int, int]] = answer.header["parts"]
            for index, size, is_end in parts:
                if size >= 0:
                    pieces.append(answer.payload[at : at + size])
                    at += size
                if not is_end:
                    offset += size
                    break
                if size >= 0:
                    yield batch[index], b"".join(pieces)
                pieces, offset = [], 0
                start += 1

    async def call_status(self, call_id: str) -> CallStatus:
        answer = await self._call("call_status", {"call_id": call_id})
        state = answer.header["state"]
        return CallStatus(state=state, result=_result(answer) if state == "finished" else None)

    async def interrupt(self, call_id: str) -> None:
        await self._call("interrupt", {"call_id": call_id})

    async def services(self) -> Sequence[Service]:
        answer = await self._call("services", {})
        rows = msgspec.json.decode(answer.payload, type=list[tuple[int, str, int, str]])
        return [
            Service(port=port, address=address, pid=pid, command=command)
            for port, address, pid, command in rows
        ]

    async def connect(self, port: int) -> socket.socket:
        tag = self._channel.tag()
        await self._call("connect", {"tag": tag, "port": port})
        return self._channel.take(tag)

    async def listen(self, name: str, *, epoch: int) -> Listening:
        tag = self._channel.tag()
        answer = await self._call("listen", {"tag": tag, "name": name, "epoch": epoch})
        return Listening(path=str(answer.header["path"]), listener=self._channel.take(tag))

    async def replace_shared(self, path: str, tree_digest: str | None) -> bool:
        if self._is_destroyed or self.is_lost:
            raise SandboxLost(f"sandbox {self.id!r} is gone")
        return await self._replace_shared(path, tree_digest)

    async def exchange_file(
        self, path: str, content: bytes | None, *, expected_sha256: str | None, epoch: int
    ) -> bool:
        fields: JsonObject = {
            "path": path,
            "epoch": epoch,
            "expected_sha256": expected_sha256,
            "removes": content is None,
        }
        return bool((await self._call("exchange", fields, content or b"")).header["is_done"])

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        return self._take_uses()

    async def take_record(self) -> TreeRecord:
        """See `interfaces.Sandbox`. The host looks, so that a sandbox which has died can still be told of."""
        if self._is_destroyed:
            raise SandboxLost(f"sandbox {self.id!r} was destroyed")
        if self.recorder is None:
            return UNRECORDED
        return await asyncio.to_thread(self.recorder.take)

    async def wait_lost(self) -> None:
        await self._connection.wait_lost()
        if self._is_destroyed:
            await asyncio.Event().wait()  # by contract: never after destroy

    async def destroy(self) -> None:
        self._is_destroyed = True
        self.disconnect()
        await self._destroy(self)

    @property
    def is_lost(self) -> bool:
        """Return whether the sandbox can no longer be reached."""
        return self._connection.is_lost

    def disconnect(self) -> None:
        """Let go of the daemon; it kills everything and leaves."""
        self._connection.close()
        self._channel.close()

    def _require_recording(self) -> None:
        if self.recorder is not None and self.recorder.is_over:
            raise SandboxRefused(
                "what happens here was recorded until somebody looked at the working tree: nothing more runs"
            )

    async def _stop_recording(self, path: str) -> None:
        """Before we look ourselves: the record is of what others did."""
        is_tree = any(f"{path}/".startswith(f"{root}/") for root in ("/workspace", HOSTED_WORKSPACE))
        if is_tree and self.recorder is not None and not self._is_destroyed:
            await self.take_record()

    async def _call(
        self,
        operation: str,
        fields: JsonObject,
        payload: bytes = b"",
        *,
        patience_seconds: float = ANSWER_SECONDS,
    ) -> GuestAnswer:
        try:
            return await self._connection.call(operation, fields, payload, patience_seconds=patience_seconds)
        except SandboxLost as error:
            if not self._died_of_memory and not self._was_out_of_memory():
                raise
            self._died_of_memory = True
            raise SandboxLost(f"sandbox {self.id!r} ran out of memory", code=OUT_OF_MEMORY) from error

    def _judged(self, answer: GuestAnswer) -> ExecResult:
        """The result, with what the kernel did: it kills one program, and the command may go on without it."""
        result = _result(answer)
        if not self._was_out_of_memory():
            return result
        told = b"\n[out of memory: the kernel killed a program of this command]\n"
        return msgspec.structs.replace(result, exceeded="memory", output=result.output + told)

    def _was_out_of_memory(self) -> bool:
        return self._cgroup is not None and self._cgroup.was_out_of_memory()


def _result(answer: GuestAnswer) -> ExecResult:
    header = answer.header
    return ExecResult(
        exit_code=header["exit_code"],
        output=answer.payload,
        is_timed_out=header["is_timed_out"],
        exceeded=header["exceeded"],
        is_truncated=header["is_truncated"],
        output_bytes_total=header["output_bytes_total"],
        duration_seconds=header["duration_seconds"],
        kept_bytes=header["kept_bytes"],
    )
