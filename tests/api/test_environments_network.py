"""Networking, packages and variables of environments, on the wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.whole import whole_platform
from api.world import World
from remit.catalog.environment_config import network_policy, resolve_config
from remit.catalog.environments import Environments
from remit.client.asgi import StreamingASGITransport
from remit.schema.environments import EnvironmentCreate
from remit.schema.wire import convert
from remit.testing.platform import PlatformUnderTest
from remit.values import NetworkPolicy

pytestmark = pytest.mark.anyio

LIMITED: dict[str, Any] = {
    "type": "limited",
    "allowed_hosts": [],
    "allow_mcp_servers": False,
    "allow_package_managers": False,
}


async def created(world: World, config: dict[str, Any]) -> dict[str, Any]:
    async with world.http() as http:
        answer = await http.post(
            "/v1/environments", json={"name": "e", "config": {"type": "cloud", **config}}
        )
    assert answer.status_code == 200, answer.text
    return answer.json()["config"]


@asynccontextmanager
async def bare_http(platform: PlatformUnderTest) -> AsyncGenerator[httpx2.AsyncClient]:
    transport = StreamingASGITransport(platform.asgi)
    headers = {"x-api-key": "rk_one"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://remit", headers=headers) as http:
        yield http


async def refused(world: World, config: dict[str, Any]) -> str:
    async with world.http() as http:
        answer = await http.post(
            "/v1/environments", json={"name": "e", "config": {"type": "cloud", **config}}
        )
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        ({"type": "unrestricted"}, {"type": "unrestricted"}),
        ({"type": "limited"}, LIMITED),
        (
            {"type": "limited", "allowed_hosts": ["api.example.com", "*.example.org"]},
            LIMITED | {"allowed_hosts": ["api.example.com", "*.example.org"]},
        ),
        (
            {"type": "limited", "allow_package_managers": True, "allow_mcp_servers": True},
            LIMITED | {"allow_package_managers": True, "allow_mcp_servers": True},
        ),
    ],
)
async def test_networking_is_accepted_and_answered_in_full(
    world: World, given: dict[str, Any], answered: dict[str, Any]
) -> None:
    assert (await created(world, {"networking": given}))["networking"] == answered


@pytest.mark.parametrize(
    "host",
    ["http://example.com", "example.com:443", "example.com/x", "*", "*.", "*.*", "a.*.com", "", "a b", "-a.com", "ex_ample..com", "é.com"],
)  # fmt: skip
async def test_a_host_with_more_than_a_name_is_refused(world: World, host: str) -> None:
    message = await refused(world, {"networking": {"type": "limited", "allowed_hosts": [host]}})
    assert message.startswith("`config.networking.allowed_hosts`: ")


async def test_an_update_keeps_what_it_leaves_out(world: World) -> None:
    limited = {"type": "limited", "allowed_hosts": ["a.com"], "allow_package_managers": True}
    config = {"type": "cloud", "networking": limited, "packages": {"pip": ["six"]}}
    async with world.http() as http:
        environment = (await http.post("/v1/environments", json={"name": "e", "config": config})).json()

        async def update(networking: dict[str, Any]) -> dict[str, Any]:
            change = {"config": {"type": "cloud", "networking": networking}}
            answer = await http.post(f"/v1/environments/{environment['id']}", json=change)
            assert answer.status_code == 200, answer.text
            return answer.json()["config"]

        updated = await update({"type": "limited", "allowed_hosts": ["b.com"]})
        assert updated["networking"] == LIMITED | {"allowed_hosts": ["b.com"], "allow_package_managers": True}
        assert updated["packages"]["pip"] == ["six"]
        opened = await update({"type": "unrestricted"})
        assert opened["networking"] == {"type": "unrestricted"}
        assert opened["packages"]["pip"] == ["six"]


async def test_the_operators_default_is_what_omitted_networking_becomes(world: World) -> None:
    services = world.services
    open_ones = Environments(
        services.catalog, services.clock, services.ids, default_networking="unrestricted"
    )
    resource = await open_ones.create(world.one, EnvironmentCreate(name="e"))
    assert resource.config.config["networking"] == {"type": "unrestricted"}
    assert (await created(world, {}))["networking"] == LIMITED


async def test_omitted_networking_with_packages_opens_the_registries_and_says_so(world: World) -> None:
    config = await created(world, {"packages": {"pip": ["six==1.16.0"], "npm": ["@types/node@22"]}})
    assert config["networking"] == LIMITED | {"allow_package_managers": True}
    assert config["packages"]["pip"] == ["six==1.16.0"]
    assert config["packages"]["apt"] == []


async def test_packages_under_limited_networking_need_the_registries(world: World) -> None:
    message = await refused(world, {"networking": {"type": "limited"}, "packages": {"pip": ["six"]}})
    assert message.startswith("`config.networking.allow_package_managers`: ")


@pytest.mark.parametrize("source", ["apt", "cargo", "gem", "go"])
async def test_sources_that_would_change_the_image_are_refused_with_the_reason(
    world: World, source: str
) -> None:
    message = await refused(world, {"packages": {source: ["x"]}})
    assert message.startswith(f"`config.packages.{source}`: ")
    assert "--toolchain" in message


@pytest.mark.requirement("environments apt")
@pytest.mark.parametrize("networking", [{"type": "unrestricted"}, {"type": "limited"}])
async def test_of_system_packages_those_that_the_machine_has_are_taken_and_the_rest_named(
    tmp_path: Path, networking: dict[str, Any]
) -> None:
    async with whole_platform(tmp_path) as platform, bare_http(platform) as http:

        async def answer(names: list[str], path: str = "/v1/environments") -> Any:
            config = {"type": "cloud", "networking": networking, "packages": {"apt": names}}
            return (await http.post(path, json={"name": "e", "config": config})).json()

        taken = await answer(["bash", "env"])  # a package, and a program of another package
        assert taken["config"]["packages"]["apt"] == ["bash", "env"]
        refused = await answer(["bash", "no-such-package", "bash=0.0~none"])
        message = refused["error"]["message"]
        assert "`config.packages.apt`: this machine has no no-such-package, bash=0.0~none, and" in message
        assert refused["error"]["details"] == {"error_code": "not_supported"}
        updated = await answer(["no-such-package"], f"/v1/environments/{taken['id']}")
        assert "no-such-package" in updated["error"]["message"]
        for name in ("-y", "--force", "git;reboot", "Git", "a b", "../x", ""):
            wrong = (await answer([name]))["error"]["message"]
            assert wrong.startswith("`config.packages.apt`: ")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("pip", "--index-url=http://evil"),
        ("pip", "-e ."),
        ("pip", "git+https://github.com/a/b"),
        ("pip", "six @ https://x/y.whl"),
        ("pip", "./here"),
        ("pip", "six;python_version<'3'"),
        ("pip", ""),
        ("npm", "--global"),
        ("npm", "github:a/b"),
        ("npm", "a@https://x/y.tgz"),
        ("npm", "file:../x"),
        ("npm", "../x"),
    ],
)
async def test_a_package_is_a_name_and_a_version_and_nothing_else(
    world: World, source: str, name: str
) -> None:
    config = {"networking": {"type": "unrestricted"}, "packages": {source: [name]}}
    assert (await refused(world, config)).startswith(f"`config.packages.{source}`: ")


@pytest.mark.parametrize(
    "name", ["requests", "requests==2.32.3", "uvicorn[standard]>=0.30,<1", "zope.interface~=7.0", "a_b!=1.*"]
)
async def test_pip_names_with_extras_and_versions_are_taken(world: World, name: str) -> None:
    assert (await created(world, {"packages": {"pip": [name]}}))["packages"]["pip"] == [name]


async def test_variables_are_kept_and_answered(world: World) -> None:
    config = await created(world, {"variables": {"APP_MODE": "test", "_x1": ""}})
    assert config["variables"] == {"APP_MODE": "test", "_x1": ""}
    assert "variables" not in await created(world, {})


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"1A": "x"}, "1A"),
        ({"A-B": "x"}, "A-B"),
        ({"A": "x\0"}, "config.variables.A"),
        ({"PATH": "/x"}, "config.variables.PATH"),
        ({"https_proxy": "http://x"}, "config.variables.https_proxy"),
        ({"LD_PRELOAD": "x"}, "config.variables.LD_PRELOAD"),
        ({"A": "x" * 40_000}, "bytes"),
        ({f"A{n}": "" for n in range(65)}, "64"),
    ],
)
async def test_variables_that_cannot_be_set_are_refused_by_name(
    world: World, variables: dict[str, str], named: str
) -> None:
    assert named in await refused(world, {"variables": variables})


@pytest.mark.parametrize(
    ("networking", "policy"),
    [
        ({"type": "unrestricted"}, NetworkPolicy(mode="unrestricted")),
        ({"type": "limited"}, NetworkPolicy()),
        (
            {"type": "limited", "allowed_hosts": ["A.com"]},
            NetworkPolicy(mode="limited", allowed_hosts=("a.com",)),
        ),
        (
            {"type": "limited", "allow_package_managers": True},
            NetworkPolicy(mode="limited", has_registries=True),
        ),
        (
            {"type": "limited", "allow_mcp_servers": True},
            NetworkPolicy(mode="limited", allowed_hosts=("mcp.example.com",)),
        ),
    ],
)
def test_a_configuration_means_this_policy(networking: dict[str, Any], policy: NetworkPolicy) -> None:
    given = {"name": "e", "config": {"type": "cloud", "networking": networking}}
    params = convert(given, EnvironmentCreate, what="environment")
    assert network_policy(resolve_config(params.config), ["https://mcp.example.com/sse"]) == policy
