"""The agent of a session: a stored version, with the parts that this session overrides."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from remit.catalog.agent_config import refuse_skills, resolve_model
from remit.catalog.agents import Agents, usable_agent
from remit.catalog.mcp_servers import check_toolsets, resolve_servers
from remit.catalog.tools import resolve_tools
from remit.catalog.web_settings import WebOffer
from remit.errors import InvalidRequest
from remit.schema.agents import AgentConfig
from remit.schema.sessions import AgentReference, AgentWithOverrides
from remit.values import JsonObject, Principal


async def resolve_session_agent(
    agents: Agents, principal: Principal, reference: str | AgentReference | AgentWithOverrides
) -> JsonObject:
    """The snapshot a session keeps. Raises NotFound, InvalidRequest, WrongState."""
    match reference:
        case str():
            return agents.snapshot(await usable_agent(agents, principal, reference, None))
        case AgentReference():
            return agents.snapshot(await usable_agent(agents, principal, reference.id, reference.version))
        case AgentWithOverrides():
            agent = await usable_agent(agents, principal, reference.id, reference.version)
            return agents.snapshot(agent, _overridden(agent.config, reference, agents.web))


def _overridden(config: AgentConfig, overrides: AgentWithOverrides, web: WebOffer) -> AgentConfig:
    refuse_skills(None if overrides.skills is UNSET else overrides.skills, field="agent.")
    changed = config
    if overrides.model is None:
        raise InvalidRequest(
            "`agent.model`: a session needs a model; leave it out to use the agent's.",
            code="agent_model_required",
        )
    if overrides.model is not UNSET:
        changed = replace(changed, model=resolve_model(overrides.model, field="agent.model"))
    if overrides.system is not UNSET:
        changed = replace(changed, system=overrides.system or None)
    if overrides.tools is not UNSET:
        tools = resolve_tools(overrides.tools or (), web=web, field="agent.tools")
        changed = replace(changed, tools=tools)
    if overrides.mcp_servers is not UNSET:
        servers = resolve_servers(overrides.mcp_servers or (), field="agent.mcp_servers")
        changed = replace(changed, mcp_servers=servers)
    check_toolsets(changed.tools, changed.mcp_servers, field="agent.")
    return changed
