"""TLS of the proxy's own: towards the sandbox as the host that is bound, towards that host as any careful client.

Standard library only: the proxy process imports it.
"""

from __future__ import annotations

import os
import ssl

_PROTOCOLS = ["http/1.1"]


def as_server(pem: str) -> ssl.SSLContext:
    """Make the context of a server with this chain and its key, which touch no disk."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(_PROTOCOLS)
    file = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        os.write(file, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    return context


def as_client(roots: str) -> ssl.SSLContext:
    """Trusts these roots and wants the host's name proven."""
    context = ssl.create_default_context(cadata=roots)
    context.set_alpn_protocols(_PROTOCOLS)
    return context
