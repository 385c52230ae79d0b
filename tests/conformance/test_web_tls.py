"""An address that was judged is connected to, and TLS still proves the name that was asked for."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from remit.toolsets.web.failures import WebFailure
from remit.toolsets.web.fetching import Address, Fetcher
from web_site import page, site

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


def certify(name: str, folder: Path) -> tuple[Path, Path]:
    """A certificate of this name that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
