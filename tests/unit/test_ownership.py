"""Finding the owner of a data folder: files that lie, processes that are gone, settings that differ."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.cli.owners import differences
from remit.config import Settings
from remit.ownership import (
    OWNER_FILE,
    SOCKET_FILE,
    Owner,
    OwnerRecord,
    ask_to_end,
    differing_settings,
    find_owner,
    record_of,
    write_record,
)

TOLD = {
    "model": "claude-sonnet-5",
    "anthropic_api_key": "sk-ant-secret",
    "openai_api_key": "sk-secret",
    "openai_vendor_api_key": "sk-secret-two",
    "openai_base_url": "http://127.0.0.1:11434/v1",
    "anthropic_base_url": "http://127.0.0.1:9",
    "scripted": Path("/scripts"),
    "unsafe_local": True,
    "toolchains": ("/opt/tools",),
    "sandboxes_max": 3,
    "egress_ports": (443,),
    "brave_api_key": "brave-secret",
    "prices": {"m": {"input_per_million_usd": 1.0}},
    "aliases": {"fast": "m"},
    "routes": {"m": {"provider": "openai"}},
    "credentials": {"github": {"token": "ghp-secret"}},
}
NOT_TOLD = {"host": "0.0.0.0", "port": 1, "api_key": "mine", "public_url": "https://x", "owner": "foreground"}


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET_FILE))
        listener.listen()
        yield listener


def record(**changed: object) -> OwnerRecord:
    return msgspec.structs.replace(OwnerRecord(pid=os.getpid(), version="1"), **changed)


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b'{"pid":1}', b'{"pid":"1","version":"1"}', b"\xff\xfe"]
)
def test_without_a_process_that_listens_no_file_makes_an_owner(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        write_record(tmp_path, record())
    else:
        (tmp_path / OWNER_FILE).write_bytes(content)
    assert find_owner(tmp_path) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / SOCKET_FILE))  # and never listened
        assert find_owner(tmp_path) is None
    assert find_owner(tmp_path) is None, "left over from a process that was killed"
    assert find_owner(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid":1,"version":"1"}'])
def test_who_listens_is_the_owner_whatever_a_former_one_wrote(
    tmp_path: Path, listening: socket.socket, content: bytes
) -> None:
    (tmp_path / OWNER_FILE).write_bytes(content)
    owner = find_owner(tmp_path)
    assert owner is not None
    assert (owner.pid, owner.record) == (os.getpid(), None)
    assert not owner.is_of_this_version()
    write_record(tmp_path, record(kind="up"))
    known = find_owner(tmp_path)
    assert known is not None
    assert known.kind == "up"


def test_a_process_that_took_the_owners_id_is_never_told_to_end(
    tmp_path: Path, listening: socket.socket
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        mistaken = Owner(pid=stranger.pid, socket_path=tmp_path / SOCKET_FILE)
        assert ask_to_end(mistaken, signal.SIGKILL) is None
        assert stranger.poll() is None
        assert stranger.stdin is not None
        stranger.stdin.close()
        assert stranger.wait() != -signal.SIGKILL
    assert ask_to_end(mistaken, signal.SIGKILL) is None, "gone"


def test_every_setting_is_either_told_or_makes_no_difference() -> None:
    names = {one.name for one in fields(Settings)}
    assert TOLD.keys() <= names
    assert not TOLD.keys() & NOT_TOLD.keys()


@given(
    theirs=st.sets(st.sampled_from(sorted(TOLD | NOT_TOLD))),
    ours=st.sets(st.sampled_from(sorted(TOLD | NOT_TOLD))),
    changed=st.sets(st.sampled_from(sorted(set(TOLD) - {"unsafe_local"}))),
)
def test_what_was_chosen_here_and_does_not_count_is_named_and_nothing_secret_is_written(
    theirs: set[str], ours: set[str], changed: set[str]
) -> None:
    def settings(names: set[str], *, other: set[str]) -> Settings:
        chosen = {name: (TOLD | NOT_TOLD)[name] for name in names}
        chosen |= {name: _other(chosen[name]) for name in other & names}
        return replace(Settings(data=Path("/data")), **chosen)  # type: ignore[arg-type]

    written = record_of(settings(theirs, other=set()), "background")
    here = settings(ours, other=changed)
    differing = set(differing_settings(written, here))
    expected = {name for name in ours & TOLD.keys() if name not in theirs or name in changed}
    if "unsafe_local" in theirs and "unsafe_local" not in ours:
        expected.add("unsafe_local")
    assert differing == expected
    told = differences(Owner(pid=7, socket_path=Path("/s"), record=written), written, sorted(differing))
    for text in (told, msgspec.json.encode(written).decode()):
        assert "secret" not in text
        assert "sk-" not in text
    assert "process 7 (in the background)" in told


def _other(value: object) -> object:
    match value:
        case str():
            return value + "-other"
        case int():
            return value + 1
        case tuple():
            return ("other",)
        case Path():
            return value / "other"
        case dict():
            return {"other": 1}
        case _:
            raise AssertionError(value)
