"""5: whatever is sent, the answer is the error envelope with the field and the mend, and nothing is half done."""

from __future__ import annotations

import asyncio
import io
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from place import Folder, Json, check, pytest, steps

SLOW: Json = {
    "steps": [{"text": "I wait.", "tool_uses": [{"name": "bash", "input": {"command": "sleep 100"}}]}]
}
place = Folder(
    {"waits": SLOW},
    '\n[prices."scripted/waits"]\ninput_per_million_usd = 1.0\noutput_per_million_usd = 1.0\n',
)
GOOD: Json = {
    "outcome": "x",
    "budget": {"usd": "1"},
    "verifiers": [{"type": "command", "command": "false"}],
    "model": "scripted/waits",
}
AGENT: Json = {"name": "a", "model": "scripted/waits"}
BODY_BYTES_MAX = 32 << 20


def ask(method: str, path: str, **options: Any) -> httpx2.Response:  # Any: what httpx2 takes
    """One request over the socket of whoever owns the data folder."""

    async def send() -> httpx2.Response:
        key = (place.data / "key").read_text().strip()
        transport = httpx2.AsyncHTTPTransport(uds=str(place.data / "api.sock"))
        headers = {"authorization": f"Bearer {key}", **options.pop("headers", {})}
        async with httpx2.AsyncClient(transport=transport, base_url="http://remit", timeout=60) as client:
            return await client.request(method, path, headers=headers, **options)

    return asyncio.run(send())


def refused(status: int, words: str, method: str, path: str, **options: Any) -> Json:  # Any: see ask
    """The envelope with this status, a message that contains these words, and a request id."""
    answer = ask(method, path, **options)
    what = f"{method} {path} {str(options)[:200]} answered {answer.status_code}: {answer.text[:500]}"
    check(answer.status_code == status, f"expected {status}; {what}")
    body = answer.json()
    check(set(body) == {"type", "error", "request_id"} and body["type"] == "error", f"no envelope; {what}")
    check(isinstance(body["error"]["type"], str) and body["error"]["message"], f"no type or message; {what}")
    check(words in body["error"]["message"], f"the message lacks {words!r}; {what}")
    check("Traceback" not in answer.text and "site-packages" not in answer.text, f"internals leak; {what}")
    return body


@contextmanager
def served() -> Iterator[None]:
    """A process that owns the data folder, for as long as it works."""
    process = place.start(*place.do_words("scripted/waits"))
    try:
        deadline = time.monotonic() + 30
        while not (place.data / "api.sock").exists() or not (place.data / "key").exists():
            check(process.poll() is None, f"the owner ended: {process.poll()}")
            check(time.monotonic() < deadline, "no socket after 30 s")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.communicate()


def wrong_types_name_the_field() -> None:
    for field, value in (
        ("outcome", 5),
        ("outcome", ""),
        ("outcome", "x" * 100_001),
        ("budget", "2"),
        ("budget", {"usd": 2}),
        ("budget", {"usd": "-1"}),
        ("budget", {"usd": "0"}),
        ("budget", {"tokens": 0}),
        ("budget", {"tokens": 1.5}),
        ("budget", {}),
        ("verifiers", []),
        ("verifiers", [{"type": "command"}]),
        ("verifiers", [{"type": "command", "command": "true"}] * 17),
        ("max_iterations", 21),
        ("max_iterations", "3"),
        ("protect", "tests"),
        ("metadata", {"a": 1}),
        ("consent", "perhaps"),
        ("toolchains", [5]),
    ):
        refused(400, field, "POST", "/v1/remits", json={**GOOD, field: value})
    refused(400, "name", "POST", "/v1/agents", json={**AGENT, "name": 5})
    refused(400, "model", "POST", "/v1/agents", json={"name": "a"})
    refused(400, "events", "POST", "/v1/sessions/sesn_nothing/events", json={"events": "hello"})


def unknown_fields_are_named() -> None:
    refused(400, "budgett", "POST", "/v1/remits", json={**GOOD, "budgett": 1})
    refused(400, "cap", "POST", "/v1/remits", json={**GOOD, "budget": {"usd": "1", "cap": 2}})
    refused(
        400, "shell", "POST", "/v1/remits", json={**GOOD, "verifiers": [{**GOOD["verifiers"][0], "shell": 1}]}
    )
    refused(400, "colour", "POST", "/v1/agents", json={**AGENT, "colour": "red"})
    refused(400, "colour", "POST", "/v1/environments", json={"name": "e", "colour": "red"})
    refused(400, "colour", "GET", "/v1/remits?colour=red")
    refused(400, "limit", "GET", "/v1/remits?limit=lots")
    refused(400, "order", "GET", "/v1/remits?order=sideways")


def what_is_not_json_is_said() -> None:
    for content in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"null", b'{"outcome": NaN}'):
        refused(400, "", "POST", "/v1/remits", content=content)


def what_is_not_supported_yet_is_refused_by_name() -> None:
    not_served: dict[str, Json] = {
        "allowed_hosts": {
            "type": "cloud",
            "networking": {"type": "limited", "allowed_hosts": ["https://example.com/path"]},
        },
        "self_hosted": {"type": "self_hosted"},
    }
    for word, config in not_served.items():
        refused(400, word, "POST", "/v1/environments", json={"name": "e", "config": config})
    tools: Json = {"type": "agent_toolset_20260401", "configs": [{"name": "web_search", "enabled": True}]}
    refused(400, "web_search", "POST", "/v1/agents", json={**AGENT, "tools": [tools]})


def too_large_is_refused() -> None:
    refused(413, "larger", "POST", "/v1/remits", json={**GOOD, "outcome": "x" * (BODY_BYTES_MAX + 1)})


def a_tar_that_would_leave_the_folder_is_refused() -> None:
    def tar(name: str, *, link: str | None = None, kind: bytes = tarfile.REGTYPE) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as file:
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE if link else kind
            member.linkname = link or ""
            file.addfile(member)
        return out.getvalue()

    headers = {"content-type": "application/x-tar"}
    for content, words in (
        (tar("files/../../etc/passwd"), "etc/passwd"),
        (tar("/etc/passwd"), "etc/passwd"),
        (tar("elsewhere/a"), "elsewhere"),
        (tar("files/link", link="/etc/passwd"), "files/link"),
        (tar("files/link", link="../../outside"), "files/link"),
        (tar("files/device", kind=tarfile.CHRTYPE), "files/device"),
        (tar("files/pipe", kind=tarfile.FIFOTYPE), "files/pipe"),
        (b"no tar at all" * 100, ""),
    ):
        refused(400, words, "POST", "/v1/remits/inputs", content=content, headers=headers)


def unknown_ids_and_paths_are_not_found() -> None:
    for method, path in (
        ("GET", "/v1/remits/remit_nothing"),
        ("GET", "/v1/remits/remit_nothing/events"),
        ("GET", "/v1/remits/remit_nothing/events/stream"),
        ("GET", "/v1/remits/remit_nothing/receipt"),
        ("GET", "/v1/remits/remit_nothing/check"),
        ("GET", "/v1/remits/remit_nothing/deliverables"),
        ("POST", "/v1/remits/remit_nothing/approve"),
        ("POST", "/v1/remits/remit_nothing/interrupt"),
        ("POST", "/v1/remits/remit_nothing/verify"),
        ("GET", "/v1/sessions/sesn_nothing"),
        ("GET", "/v1/sessions/sesn_nothing/events/stream"),
        ("GET", "/v1/sessions/sesn_nothing/check"),
        ("GET", "/v1/agents/agent_nothing"),
        ("GET", "/v1/environments/env_nothing"),
        ("GET", "/v1/nothing"),
    ):
        refused(404, "", method, path)
    refused(404, "input_nothing", "POST", "/v1/remits", json={**GOOD, "input_id": "input_nothing"})
    refused(404, "agent_nothing", "POST", "/v1/remits", json={**GOOD, "agent": "agent_nothing"})
    refused(405, "GET", "DELETE", "/v1/remits")


def without_a_key_nobody_is_let_in() -> None:
    for authorization in ("Bearer rk_wrong", "Bearer", "Basic abc"):
        refused(401, "", "GET", "/v1/remits", headers={"authorization": authorization})


def the_wrong_state_is_refused() -> None:
    made = ask("POST", "/v1/remits", json=GOOD)
    check(made.status_code == 200, f"a remit could not be made: {made.text}")
    id = made.json()["id"]
    refused(400, id, "POST", f"/v1/remits/{id}/verify")
    ask("POST", f"/v1/remits/{id}/decline", json={"reason": "no"}).raise_for_status()
    deadline = time.monotonic() + 20
    while (remit := ask("GET", f"/v1/remits/{id}").json())["status"] != "stopped":
        check(time.monotonic() < deadline, f"it was declined and is {remit['status']}")
        time.sleep(0.05)
    refused(400, id, "POST", f"/v1/remits/{id}/approve")
    refused(400, id, "POST", f"/v1/remits/{id}/resume")
    check(remit["spent"] == {"usd": "0", "tokens": 0}, f"a declined remit spent {remit['spent']}")


def what_was_refused_left_nothing_behind() -> str:
    remits = ask("GET", "/v1/remits").json()["data"]
    # The owner's own and the one that was declined.
    check(len(remits) == 2, f"{len(remits)} remits; two were made")
    agents = [agent["name"] for agent in ask("GET", "/v1/agents").json()["data"]]
    check("a" not in agents, f"a refused agent is there: {agents}")
    return f"{len(remits)} remits, {len(agents)} agents"


def over_the_socket() -> str:
    with served():
        checks = (
            wrong_types_name_the_field,
            unknown_fields_are_named,
            what_is_not_json_is_said,
            what_is_not_supported_yet_is_refused_by_name,
            too_large_is_refused,
            a_tar_that_would_leave_the_folder_is_refused,
            unknown_ids_and_paths_are_not_found,
            without_a_key_nobody_is_let_in,
            the_wrong_state_is_refused,
            what_was_refused_left_nothing_behind,
        )
        check(steps(*checks) == 0, "see above")
    return f"{len(checks)} kinds of bad input"


def a_broken_settings_file_is_explained() -> None:
    broken = Folder()
    for text, words in (
        ("[prices", "remit.toml"),
        ("colour = 1", "colour"),
        ("sandbox_idle_seconds = -1", "negative"),
    ):
        (broken.data / "remit.toml").write_text(text + "\n")
        broken.remit("ls").expect(2, words)


def prices_that_are_none_are_explained() -> None:
    broken = Folder()
    for text in (
        '[prices."a/b"]\ninput_per_million_usd = "dear"\n',
        "prices = 5\n",
        '[prices."a/b"]\ncolour = 5\n',
        "aliases = 5\n",
    ):
        (broken.data / "remit.toml").write_text(text)
        broken.remit("ls").expect(2, "aliases" if "aliases" in text else "price")


def a_broken_script_is_explained() -> None:
    broken = Folder()
    (broken.scripts / "bad.json").write_text('{"stepps": []}')
    broken.remit("ls").expect(2, "bad", "stepps")


def a_data_folder_that_cannot_be_is_explained() -> None:
    somewhere = Folder()
    (somewhere.path / "file").write_text("")
    somewhere.remit("ls", "--data", str(somewhere.path / "file")).expect(
        2, str(somewhere.path / "file"), "--data"
    )


def other_workspaces_ids_and_the_error_shape() -> str:
    return pytest("tests/api")


if __name__ == "__main__":
    sys.exit(
        steps(
            over_the_socket,
            a_broken_settings_file_is_explained,
            prices_that_are_none_are_explained,
            a_broken_script_is_explained,
            a_data_folder_that_cannot_be_is_explained,
            other_workspaces_ids_and_the_error_shape,
        )
    )
