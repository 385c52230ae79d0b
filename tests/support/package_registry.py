"""An index for pip and a registry for npm in one, on a server of this machine; each has one package."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import socket
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Mapping

import pytest


def wheel() -> bytes:
    """A package with a module and a program."""
    files = {
        "greeting.py": "def hello():\n    print('hello from pip')\n",
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:hello\n",
    }
    files["greeting-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def tarball() -> bytes:
    """The same for npm."""
    files = {
        "package/package.json": json.dumps(
            {"name": "salute", "version": "2.0.0", "main": "index.js", "bin": {"salute": "cli.js"}}
        ),
        "package/index.js": "module.exports = () => console.log('hello from npm');\n",
        "package/cli.js": "#!/usr/bin/env node\nrequire('./index.js')();\n",
    }
    return _packed(files)


def _packed(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            info.mode = 0o755
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


SPITE = """
const fs = require('fs');
fs.symlinkSync('/etc/shadow', 'shadow');
fs.symlinkSync('../../../../../..', 'up');
fs.writeFileSync('root', '#!/bin/sh\\nid -u'); fs.chmodSync('root', 0o6755);
fs.writeFileSync('said', JSON.stringify([process.env, fs.readdirSync('/mnt'), fs.readdirSync('/workspace')]));
require('http').get('http://10.0.0.1/', () => fs.writeFileSync('reached', '')).on('error', () => 0);
"""
"""Run by npm as the package is installed."""


def spiteful_tarball() -> bytes:
    """A package that takes what it can get while it is installed."""
    files = {
        "package/package.json": json.dumps(
            {"name": "spiteful", "version": "1.0.0", "scripts": {"postinstall": "node spite.js"}}
        ),
        "package/spite.js": SPITE,
    }
    return _packed(files)


class Registry:
    """An index for pip and a registry for npm in one."""

    def __init__(self, base: str) -> None:
        packed, spiteful = tarball(), spiteful_tarball()
        self.pages: Mapping[str, tuple[str, bytes]] = {
            "/simple/greeting/": (
                "text/html",
                b'<a href="/files/greeting-1.0-py3-none-any.whl">greeting-1.0-py3-none-any.whl</a>',
            ),
            "/files/greeting-1.0-py3-none-any.whl": ("application/octet-stream", wheel()),
            "/salute": _document(base, "salute", "2.0.0", packed, bin={"salute": "cli.js"}),
            "/salute/-/salute-2.0.0.tgz": ("application/octet-stream", packed),
            "/spiteful": _document(base, "spiteful", "1.0.0", spiteful, hasInstallScript=True),
            "/spiteful/-/spiteful-1.0.0.tgz": ("application/octet-stream", spiteful),
        }
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            self.asked.append(path)
            kind, body = self.pages.get(path, ("text/plain", b""))
            status = "200 OK" if path in self.pages else "404 Not Found"
            head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()


def _document(base: str, name: str, version: str, packed: bytes, **more: object) -> tuple[str, bytes]:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
    tarball = f"{base}/{name}/-/{name}-{version}.tgz"
    one = {"name": name, "version": version, "dist": {"tarball": tarball, "integrity": integrity}, **more}
    document = {"name": name, "dist-tags": {"latest": version}, "versions": {version: one}}
    return "application/json", json.dumps(document).encode()


@contextlib.asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Registry, str, str]]:
    """The registry, its host and its address. The host is a name of this machine that is not "localhost": that one does
    not go through a sandbox's proxy."""
    host = socket.gethostname().lower()
    try:
        address = socket.gethostbyname(host)
    except OSError:
        pytest.skip(f"this machine cannot resolve its own name {host!r}")
    listener = socket.create_server((address, 0))
    port: int = listener.getsockname()[1]
    registry = Registry(f"http://{host}:{port}")
    server = await asyncio.start_server(registry.serve, sock=listener)
    try:
        yield registry, f"{host}:{port}", f"http://{host}:{port}"
    finally:
        server.close()
