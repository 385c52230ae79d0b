"""The authorities that this machine trusts."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from remit.errors import SandboxUnavailable

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def system_roots() -> str:
    """The certificates this machine trusts (SSL_CERT_FILE names others). Raises SandboxUnavailable."""
    named = ssl.get_default_verify_paths().cafile
    for path in (*((named,) if named else ()), *_BUNDLES):
        try:
            text = Path(path).read_text("utf-8", "replace")
        except OSError:
            continue
        if blocks := CERTIFICATE.findall(text):  # what stands between them may be comments in any script
            return "\n".join(blocks) + "\n"
    raise SandboxUnavailable(
        "no file of trusted certificates was found, so no server can be proven to which a credential would go; install "
        "`ca-certificates`, or name a file with SSL_CERT_FILE"
    )
