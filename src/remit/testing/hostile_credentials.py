"""The attacks on credentials: an agent that has a host send back what it was sent, or keep its guesses.

Each returns how it got through; nothing means that it was held.
"""

from __future__ import annotations

import base64
import contextlib
import html
import os
import re
from collections.abc import AsyncGenerator

from remit.testing.hostile_host import Stage
from remit.testing.sandbox_checks.given import EPOCH, Hands
from remit.values import Credential, SandboxSpec, Secret

_ASK = """
import os, re, socket, sys
proxy = os.environ["http_proxy"].removeprefix("http://").rstrip("/").rsplit(":", 1)
def answer(head):
    with socket.create_connection((proxy[0], int(proxy[1])), 10) as one:
        one.settimeout(10)
        one.sendall(head.encode())
        got = b""
        try:
            while piece := one.recv(65536): got += piece
        except OSError: pass
        return got
for target in sys.argv[2:]:
    host = target if re.search(r":\\d+$", target) else target + ":80"
    if sys.argv[1] == "CONNECT": head = f"CONNECT {host} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n"
    else: head = f"GET http://{target}{sys.argv[1]} HTTP/1.1\\r\\nHost: {target}\\r\\nConnection: close\\r\\n\\r\\n"
    got = answer(head)
    print(target, got.split(b"\\r\\n")[0].decode("latin-1"), "|", got.partition(b"\\r\\n\\r\\n")[2][:2000].decode("latin-1").replace("\\n", " "))
"""

_ELSEWHERE = """
import socket, sys
place, other = "127.0.0.1:" + sys.argv[1], "localhost:" + sys.argv[1]
def say(*texts):
    with socket.create_connection(("127.0.0.1", 3128), 8) as proxy:
        for text in texts:
            proxy.sendall(text.encode())
            proxy.recv(65536)
for text in (
    f"GET http://{other}/hello HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n",
    f"GET http://{other}/hello HTTP/1.1\\r\\nHost: {other}\\r\\n\\r\\nGET http://{place}/hello HTTP/1.1\\r\\n\\r\\n",
):
    say(text)
say(f"CONNECT {place} HTTP/1.1\\r\\n\\r\\n", f"GET /hello HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n")
"""


async def echoed_credentials(stage: Stage) -> list[str]:
    """The upstream sends back what it was sent, as it is and encoded: the credential was there, and does not come in."""
    async with _bound(stage) as (hands, place, secret):
        said = b"".join([await ask(hands, path, place) for path in ("/echo", "/echo64")])
        inside = (
            await hands.shell("env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' ' '")
        ).output
    if stage.upstream.seen.count(secret.encode()) != 2:
        return ["no credential is placed on requests"]
    forms = (secret.encode(), base64.b64encode(secret.encode()))
    return [f"it came back: {form!r}" for form in forms if form in said or form in inside]


async def escaped_credentials(stage: Stage) -> list[str]:
    """The upstream writes what it was sent with escapes, in several ways, and inside one another."""
    async with _bound(stage) as (hands, place, secret):
        said = (await ask(hands, "/escaped", place)).decode("utf-8", "replace")
    if secret.encode() not in stage.upstream.seen:
        return ["no credential is placed on requests"]
    plain = html.unescape(
        re.sub(r"(?:\\\\u00|%)([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), said)
    )
    return [f"it came back: {plain!r}"] if secret in html.unescape(plain) else []


_LOOK = """
import os, socket, sys
proxy = os.environ["http_proxy"].removeprefix("http://").rstrip("/").rsplit(":", 1)
def look(guess):
    with socket.create_connection((proxy[0], int(proxy[1])), 10) as one:
        one.sendall(f"GET http://{sys.argv[1]}/kept/{guess.encode().hex()} HTTP/1.1\\r\\nHost: {sys.argv[1]}\\r\\n\\r\\n".encode())
        said = b""
        while piece := one.recv(65536): said += piece
    body, sizes = said.partition(b"\\r\\n\\r\\n")[2], []
    while body:
        size, _, body = body.partition(b"\\r\\n")
        sizes.append(int(size, 16))
        body = body[sizes[-1] + 2:]
    return sizes
for guess in sys.argv[2:]: print(*look(guess))
"""


async def guessed_credentials(stage: Stage) -> list[str]:
    """The agent has the upstream keep guesses of the credential's beginning and give them back: do right ones look
    different from wrong ones?"""
    async with _bound(stage) as (hands, place, secret):
        got: list[str] = []
        for form in (secret, secret.encode().hex(), base64.b64encode(secret.encode()).decode()):
            right = [f"####{form[:length]}" for length in range(1, 16, 2)]
            wrong = [f"{guess[:-1]}~" for guess in right]
            said = (await hands.exec("python3", "-c", _LOOK, place, *right, *wrong, seconds=60)).output
            looks = said.decode().splitlines()
            if len(looks) != len(right) + len(wrong):
                return [f"not every guess was answered: {said[-500:]!r}"]
            pairs = zip(right, looks[: len(right)], looks[len(right) :], strict=True)
            got += [
                f"{guess!r} looks like {one}, a wrong one like {other}"
                for guess, one, other in pairs
                if one != other
            ]
        return got


@contextlib.asynccontextmanager
async def _bound(stage: Stage) -> AsyncGenerator[tuple[Hands, str, str]]:
    """A sandbox whose requests to the upstream carry a credential; where that is, and the credential."""
    place = f"127.0.0.1:{stage.upstream.port}"
    secret = f"hidden/{os.urandom(16).hex()}+="
    bound = Credential(name="probe", places=(f"http://{place}",), secret=Secret(secret), header="X-Api-Key")
    spec = SandboxSpec(key="bound", epoch=EPOCH, network=stage.network, credentials=(bound,))
    sandbox = await stage.bench.provider.create(spec)
    try:
        yield Hands(sandbox), place, secret
    finally:
        await sandbox.destroy()


async def misplaced_credentials(stage: Stage) -> list[str]:
    """The same server under another name, through a tunnel, behind the first request: none of it is the bound place."""
    async with _bound(stage) as (hands, place, secret):
        await hands.exec("python3", "-c", _ELSEWHERE, str(stage.upstream.port), seconds=60)
        got = ["it went elsewhere"] if secret.encode() in stage.upstream.seen else []
        await ask(hands, "/hello", place)
    return got if secret.encode() in stage.upstream.seen else ["no credential is placed on requests"]


async def ask(hands: Hands, what: str, *targets: str) -> bytes:
    """Ask with a client in the sandbox; return one line for each target."""
    return (await hands.exec("python3", "-c", _ASK, what, *targets, seconds=60)).output
