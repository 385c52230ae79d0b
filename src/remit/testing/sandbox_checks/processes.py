"""Programs that are spoken with while they run."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from remit.errors import SandboxRefused
from remit.testing.sandbox_checks.given import EPOCH, Bench, Hands, a_sandbox
from remit.values import CallStatus, ProcessRequest

PATIENCE_SECONDS = 20.0


async def _open(hands: Hands, call_id: str, *argv: str, epoch: int = EPOCH) -> socket.socket:
    return await hands.sandbox.open_process(ProcessRequest(call_id=call_id, epoch=epoch, argv=argv))


async def _say(spoken_with: socket.socket, content: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(spoken_with, content)


async def _hear(spoken_with: socket.socket, count: int | None = None) -> bytes:
    """So many bytes, or all until the end."""
    heard = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while count is None or len(heard) < count:
            with contextlib.suppress(ConnectionResetError):
                piece = await asyncio.get_running_loop().sock_recv(spoken_with, 65_536)
                heard += piece
                if piece:
                    continue
            break
    return heard


async def _ended(hands: Hands, call_id: str) -> CallStatus:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (status := await hands.sandbox.call_status(call_id)).state == "running":  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)
    return status


async def check_a_program_is_spoken_with_until_its_input_ends(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        with await _open(hands, "talk", "cat") as spoken_with:
            for content in (b"one\n", b"two\n", bytes(range(256)) * 100):
                await _say(spoken_with, content)
                assert await _hear(spoken_with, len(content)) == content
            assert (await hands.sandbox.call_status("talk")).state == "running"
            spoken_with.shutdown(socket.SHUT_WR)
            assert await _hear(spoken_with) == b""
        status = await _ended(hands, "talk")
        assert status.result is not None
        assert status.result.exit_code == 0


async def check_two_programs_are_spoken_with_beside_each_other(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        with await _open(hands, "first", "cat") as first, await _open(hands, "second", "cat") as second:
            await _say(second, b"b")
            await _say(first, b"a")
            assert (await _hear(first, 1), await _hear(second, 1)) == (b"a", b"b")


async def check_an_interrupt_ends_a_program_that_is_spoken_with(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        with await _open(hands, "talk", "cat") as spoken_with:
            await hands.sandbox.interrupt("talk")
            assert await _hear(spoken_with) == b""
        status = await _ended(hands, "talk")
        assert status.result is not None
        assert status.result.exit_code is None


async def check_a_program_that_cannot_be_started_has_ended(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        with await _open(hands, "talk", "no-such-program") as spoken_with:
            assert await _hear(spoken_with) == b""
        status = await _ended(hands, "talk")
        assert status.result is not None
        assert (status.result.exit_code, status.result.output) == (127, b"no-such-program: not found\n")


async def check_a_program_is_started_once_and_by_the_newest_epoch_alone(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        with await _open(hands, "talk", "cat"):
            for call_id, epoch in (("talk", EPOCH), ("other", EPOCH - 1)):
                try:
                    (await _open(hands, call_id, "cat", epoch=epoch)).close()
                except SandboxRefused:
                    continue
                raise AssertionError(f"{call_id} was started at epoch {epoch}")


async def check_a_program_that_is_spoken_with_ends_with_its_sandbox(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        spoken_with = await _open(hands, "talk", "cat")
    with spoken_with:
        assert await _hear(spoken_with) == b""


_CONNECTS = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'hello'); print(s.recv(9))"


async def check_a_program_reaches_a_socket_that_listens_inside(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        path, listener = await hands.sandbox.listen("door", epoch=EPOCH)
        with listener:
            calling = asyncio.ensure_future(hands.exec("python3", "-c", _CONNECTS, path))
            async with asyncio.timeout(PATIENCE_SECONDS):
                accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                assert await _hear(accepted, 5) == b"hello"
                await _say(accepted, b"welcome")
                result = await calling
            assert (result.exit_code, result.output) == (0, b"b'welcome'\n")


async def check_a_socket_is_replaced_by_one_of_its_name_and_no_other_name_is_taken(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        first, second = [await hands.sandbox.listen("door", epoch=EPOCH) for _ in range(2)]
        first.listener.close()
        second.listener.close()
        assert first.path == second.path
        for name in ("", "../door", "a/b", "x" * 33):
            try:
                (await hands.sandbox.listen(name, epoch=EPOCH)).listener.close()
            except SandboxRefused:
                continue
            raise AssertionError(f"{name!r} was taken")
