"""What an agent may say of its web tools."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from remit.catalog.agents import Agents
from remit.catalog.tools import as_offered, resolve_tools
from remit.catalog.web_settings import NO_WEB, WebOffer
from remit.errors import InvalidRequest
from remit.ids import Ids
from remit.schema.agents import AgentCreate, AgentUpdate
from remit.schema.tools import ToolList
from remit.schema.wire import decode
from remit.sessions.agent import resolve_session_agent
from remit.stores.memory import MemoryCatalog
from remit.testing.clock import FakeClock
from remit.values import JsonObject, Principal

BOTH = WebOffer(tools=frozenset({"web_fetch", "web_search"}), takes_location=True)
SOMEONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
CUSTOM = {"type": "custom", "name": "lookup", "description": "d", "input_schema": {"type": "object"}}


def resolved(*configs: JsonObject, web: WebOffer = BOTH, **toolset: Any) -> dict[str, JsonObject]:
    """The toolset's entries by name."""
    tools = [{"type": "agent_toolset_20260401", "configs": configs, **toolset}, CUSTOM]
    body = as_offered(resolve_tools(decode(msgspec.json.encode(tools), cast("Any", ToolList)), web=web), web)[
        0
    ]
    return {str(entry["name"]): entry for entry in cast("list[JsonObject]", body["configs"])}


def refusal(*configs: JsonObject, web: WebOffer = BOTH) -> str:
    with pytest.raises(InvalidRequest) as caught:
        resolved(*configs, web=web)
    return caught.value.message


def test_the_default_toolset_has_the_web_tools_that_are_offered_and_no_others() -> None:
    fetch_only = WebOffer(tools=frozenset({"web_fetch"}))
    enabled = {
        offer: [name for name, entry in resolved(web=offer).items() if entry["enabled"]][6:]
        for offer in (NO_WEB, fetch_only, BOTH)
    }
    assert enabled == {NO_WEB: [], fetch_only: ["web_fetch"], BOTH: ["web_fetch", "web_search"]}


@pytest.mark.anyio
async def test_an_agent_follows_what_is_offered_and_its_sessions_keep_what_was_offered_then() -> None:
    clock = FakeClock()
    catalog, ids = MemoryCatalog(clock), Ids(clock)
    before, after = (Agents(catalog, clock, ids, {"remit": "1"}, web) for web in (NO_WEB, BOTH))
    params = decode(b'{"name":"a","model":"m","tools":[{"type":"agent_toolset_20260401"}]}', AgentCreate)
    saved = await before.create(SOMEONE, params)
    session_agents = [await resolve_session_agent(agents, SOMEONE, saved.id) for agents in (before, after)]
    shown = [before.to_wire(saved), after.to_wire(saved), *session_agents]
    assert [enabled_web_tools(agent) for agent in shown] == [[], ["web_fetch", "web_search"]] * 2
    assert (await after.update(SOMEONE, saved.id, AgentUpdate())).version == 1


def enabled_web_tools(agent: Any) -> list[str]:
    entries = agent["tools"][0]["configs"]
    return [entry["name"] for entry in entries if entry["enabled"] and entry["name"].startswith("web")]


def test_what_was_set_stands_in_the_resolved_configuration_and_what_was_not_is_null() -> None:
    entries = resolved(
        {
            "name": "web_fetch",
            "allowed_domains": ["Docs.Example.com"],
            "max_content_tokens": 500,
            "url_sources": {
                "user_input": "none",
                "client_tool_results": {
                    "type": "only",
                    "tools": [{"type": "tool_reference", "name": "lookup"}],
                },
            },
        },
        {"name": "web_search", "user_location": {"type": "approximate", "country": "DE"}},
    )
    fetch, search = entries["web_fetch"], entries["web_search"]
    assert fetch["allowed_domains"] == ["docs.example.com"]
    assert fetch["blocked_domains"] is None
    assert fetch["max_content_tokens"] == 500
    assert fetch["url_sources"] == {
        "user_input": {"type": "none"},
        "client_tool_results": {
            "type": "only",
            "tools": [{"type": "tool_reference", "name": "lookup"}],
        },
        "server_tool_results": None,
    }
    assert cast("JsonObject", search["user_location"])["country"] == "DE"
    assert "allowed_domains" not in entries["bash"]


@pytest.mark.parametrize(
    ("name", "mend"), [("web_fetch", "REMIT_WEB_TOOLS"), ("web_search", "REMIT_SEARXNG_URL")]
)
def test_asking_by_name_for_a_tool_that_is_not_offered_names_the_mend(name: str, mend: str) -> None:
    said = refusal({"name": name, "enabled": True}, web=NO_WEB)
    assert "`tools[0].configs[0].name`" in said
    assert mend in said
    assert resolved({"name": name, "enabled": False}, web=NO_WEB)[name]["enabled"] is False


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("https://example.com", "scheme or path"),
        ("example.com/docs", "scheme or path"),
        ("example.com:443", "port"),
        ("*.example.com", "wildcard"),
        ("10.0.0.1", "addresses are not names"),
        ("[::1]", "top-level"),
        ("com", "top-level"),
        ("localhost", "localhost"),
        ("api.localhost", "localhost"),
        ("", "top-level"),
    ],
)
def test_a_domain_that_is_no_plain_host_name_is_refused_with_its_place(domain: str, why: str) -> None:
    for setting in ("allowed_domains", "blocked_domains"):
        said = refusal({"name": "web_fetch", setting: ["ok.example.com", domain]})
        assert f"`tools[0].configs[0].{setting}[1]`" in said
        assert why in said


def test_a_path_suffix_is_only_for_the_allowed_domains_of_searches() -> None:
    allowed = resolved({"name": "web_search", "allowed_domains": ["example.com/docs"]})
    assert allowed["web_search"]["allowed_domains"] == ["example.com/docs"]
    assert "scheme or path" in refusal({"name": "web_search", "blocked_domains": ["example.com/docs"]})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"name": "web_fetch", "allowed_domains": []}, "ambiguous"),
        ({"name": "web_fetch", "allowed_domains": ["a.example"] * 65}, "at most 64"),
        (
            {"name": "web_fetch", "allowed_domains": ["a.example"], "blocked_domains": ["b.example"]},
            "exclude each other",
        ),
        ({"name": "web_fetch", "max_content_tokens": 0}, "max_content_tokens"),
        ({"name": "web_fetch", "user_location": {"type": "approximate"}}, "no such setting"),
        ({"name": "web_search", "max_content_tokens": 5}, "no such setting"),
        ({"name": "bash", "allowed_domains": ["a.example"]}, "no such setting"),
        ({"name": "web_search", "user_location": {"type": "exact"}}, "user_location.type"),
        (
            {
                "name": "web_fetch",
                "url_sources": {
                    "user_input": "none",
                    "client_tool_results": "none",
                    "server_tool_results": "none",
                },
            },
            "nothing could ever be fetched",
        ),
        (
            {"name": "web_fetch", "url_sources": {"user_input": {"type": "only"}}},
            'must be "all" or "none"',
        ),
        (
            {"name": "web_fetch", "url_sources": {"client_tool_results": {"type": "except"}}},
            "name at least one tool",
        ),
        (
            {
                "name": "web_fetch",
                "url_sources": {
                    "server_tool_results": {
                        "type": "only",
                        "tools": [{"type": "tool_reference", "name": "bash"}],
                    }
                },
            },
            "'bash' is not one of: web_fetch, web_search",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: JsonObject, said: str) -> None:
    assert said in refusal(config)


def test_a_location_is_refused_where_the_search_engine_takes_none() -> None:
    offer = WebOffer(tools=BOTH.tools, takes_location=False)
    config: JsonObject = {"name": "web_search", "user_location": {"type": "approximate"}}
    assert "takes no location" in refusal(config, web=offer)


@pytest.mark.requirement("web domains")
@pytest.mark.parametrize("setting", ["allowed_domains", "blocked_domains"])
@pytest.mark.parametrize("last", ["local", "internal", "localdomain", "invalid", "localhost", "LOCAL"])
def test_internal_names_are_no_domains_of_the_web(setting: str, last: str) -> None:
    for tool in ("web_fetch", "web_search"):
        for name in (f"db.{last}", f"a.b.{last}/"):
            said = refusal({"name": tool, setting: ["ok.example.com", name]})
            assert f"`tools[0].configs[0].{setting}[1]`" in said
            assert last.lower() in said


@pytest.mark.requirement("web domains")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.example.com", "a.example.com"),
        ("a.example.com", "A.Example.COM"),
        ("a.example.com", "a.example.com/"),
        ("a.example.com/", "b.example.com"),
        ("a.example.com", "www.a.example.com"),
    ],
)
def test_a_domain_stands_once_whatever_its_letters_and_its_last_slash(first: str, second: str) -> None:
    is_same = first.removesuffix("/").lower() == second.removesuffix("/").lower()
    config: JsonObject = {"name": "web_fetch", "blocked_domains": [first, "c.example.com", second]}
    if is_same:
        said = refusal(config)
        assert "blocked_domains[2]`" in said
        assert "blocked_domains[0] already" in said
    else:
        kept = resolved(config)["web_fetch"]["blocked_domains"]
        assert kept == [first.removesuffix("/"), "c.example.com", second]


@pytest.mark.requirement("web domains")
@pytest.mark.parametrize("character", [" ", "?", "#", "$", ",", "|", "^", "!"])
def test_a_path_has_no_character_that_an_engine_reads_as_its_own(character: str) -> None:
    said = refusal({"name": "web_search", "allowed_domains": [f"example.com/a{character}b"]})
    assert "allowed_domains[0]" in said
