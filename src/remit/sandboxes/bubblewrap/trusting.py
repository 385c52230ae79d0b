"""Trust of programs in a sandbox in the egress proxy, for the places of its credentials alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from remit.values import Trust

CERTIFICATES = "/etc/remit/certificates.pem"
_JAVA_STORE = "/etc/remit/certificates.p12"
JAVA_OPTIONS = f"-Djavax.net.ssl.trustStore={_JAVA_STORE} -Djavax.net.ssl.trustStoreType=PKCS12"
_SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_VARIABLES = (
    "SSL_CERT_FILE",  # OpenSSL: Python's ssl and httpx, Ruby, Go, Perl
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",  # npm is a Node program
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
)
"""Each client has its own; all name the same file."""


def trust_variables(trust: Trust) -> Mapping[str, str]:
    """Return the variables that name the certificates, and the placeholders of the credentials."""
    return {**dict.fromkeys(_VARIABLES, CERTIFICATES), **trust.variables}


def trust_binds(folder: Path, trust: Trust) -> list[str]:
    """Written beside the sandbox's working tree, read-only inside; also in the place of the system's own file."""
    file, store = folder / "certificates.pem", folder / "certificates.p12"
    file.write_text(trust.certificates)
    store.write_bytes(trust.java_store)
    for one in (file, store):
        one.chmod(0o644)
    binds = ["--ro-bind", str(file), CERTIFICATES, "--ro-bind", str(store), _JAVA_STORE]
    system = Path(_SYSTEM_BUNDLE)
    if system.is_file() and system.resolve() == system:  # nothing can be put in the place of a link
        binds += ["--ro-bind", str(file), _SYSTEM_BUNDLE]
    return binds
