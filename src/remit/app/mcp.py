"""MCP servers under the operator's settings: the egress rules of sandboxes hold for the server's own requests as well."""

from __future__ import annotations

import base64

import httpx2

from remit.app.web import make_judge
from remit.clock import Clock
from remit.config import Settings
from remit.egress.bindings import CredentialPlace, parse_place
from remit.egress.policy import normalize_host
from remit.egress.redaction import Redactor
from remit.ids import Ids
from remit.interfaces import CredentialSource, ToolSession
from remit.toolsets.mcp.limits import Authorization
from remit.toolsets.mcp.servers import McpServers
from remit.toolsets.web.fetching import AddressGate, host_of, port_of
from remit.values import Credential


def mcp_servers(settings: Settings, credentials: CredentialSource, *, clock: Clock, ids: Ids) -> McpServers:
    """A source of the tools of agents' MCP servers."""

    async def authorize(session: ToolSession, url: str) -> Authorization:
        """The operator's credentials for the server's place, as sandboxes of this environment have them."""
        target = httpx2.URL(url)
        place = CredentialPlace(
            is_tls=target.scheme == "https", host=normalize_host(host_of(target)), port=port_of(target)
        )
        found = await credentials.credentials(
            session.workspace_id, session.environment_id, session.session_id
        )
        headers: dict[str, str] = {}
        names: list[str] = []
        secrets: list[bytes] = []
        for one in found:
            header = _header(one)
            if header is not None and header[0] not in headers and place in map(parse_place, one.places):
                headers |= [header]
                names.append(one.name)
                secrets.append(one.secret.reveal().encode())
        if not headers:
            return Authorization()
        redactor = Redactor(secrets)
        return Authorization(
            headers=headers, clean=lambda content: redactor.clean(content)[0], credentials=tuple(names)
        )

    return McpServers(gate=AddressGate(make_judge(settings)), authorize=authorize, clock=clock, ids=ids)


def _header(credential: Credential) -> tuple[str, str] | None:
    secret = credential.secret.reveal()
    if credential.header is not None:
        return credential.header.lower(), f"{credential.prefix}{secret}"
    if credential.username is not None:
        pair = base64.b64encode(f"{credential.username}:{secret}".encode()).decode()
        return "authorization", f"Basic {pair}"
    return None  # a placeholder: only programs in sandboxes have it
