"""Certificates of one sandbox: an authority that it alone trusts, and what that signed for the places of its credentials."""

from __future__ import annotations

import datetime
import ipaddress
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from remit.egress.roots import CERTIFICATE

VALID = datetime.timedelta(days=365)
_EARLIER = datetime.timedelta(days=1)
"""Clocks differ."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Signed once for certain hosts; its key is gone already, so it will never sign for another."""

    certificate: str
    """What the sandbox must trust."""
    server_pem: str = field(repr=False)
    """The hosts' certificate and its key, for the proxy."""


def make_authority(hosts: Sequence[str]) -> Authority:
    """Make an authority for exactly these names and addresses."""
    now = datetime.datetime.now(datetime.UTC)
    key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Remit, for this sandbox alone")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    authority = (
        _builder(name, name, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    server = (
        _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Remit's egress proxy")]),
            name,
            server_key,
            now,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_subject(host) for host in hosts]), critical=False)
        .add_extension(signed_by, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Authority(certificate=_pem(authority), server_pem=_pem(server) + private.decode())


def java_store(certificates: str) -> bytes:
    """A trust store (PKCS #12, without a password) of what stands in this PEM."""
    found: list[pkcs12.PKCS12Certificate] = []
    for number, block in enumerate(CERTIFICATE.findall(certificates)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # old roots bend today's rules
            certificate = x509.load_pem_x509_certificate(block.encode())
        found.append(pkcs12.PKCS12Certificate(certificate, b"%d" % number))
    return pkcs12.serialize_java_truststore(found, serialization.NoEncryption())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + VALID)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
