"""An address that was judged is connected to, and TLS still proves the name that was asked for."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from remit.toolsets.web.failures import WebFailure
from remit.toolsets.web.fetching import Address, Fetcher
from support.certificates import certify
from support.web_site import page, site

pytestmark = pytest.mark.anyio


async def test_a_pinned_https_site_must_prove_its_name(tmp_path: Path) -> None:
    certificate, key = certify("secure.test", tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    names: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: names.append(name)

    async def resolve(host: str) -> Sequence[Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    trusting = ssl.create_default_context(cafile=str(certificate))
    fetcher = Fetcher(lambda host, port, address: None, resolve=resolve, tls=trusting)
    async with site({"/": page("proven", type="text/plain")}, tls=serving) as web:
        with anyio.fail_after(10):
            document = await fetcher.fetch(f"https://secure.test:{web.port}/", lambda host, path: None)
            assert document.content == b"proven"
            with pytest.raises(WebFailure) as caught:
                await fetcher.fetch(f"https://other.test:{web.port}/", lambda host, path: None)
        assert caught.value.code == "url_not_accessible"
        assert names == ["secure.test", "other.test"]
        assert len(web.heads) == 1
