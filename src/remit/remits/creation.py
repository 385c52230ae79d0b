"""Making a remit: everything that can be refused is refused here, before anything is spent or written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec.structs import replace

from remit.catalog.agent_config import Harnesses, resolve_create
from remit.catalog.agents import Agents, usable_agent
from remit.catalog.environment_config import packages_of
from remit.catalog.environments import Environments
from remit.catalog.mcp_servers import check_servers_reachable
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.resources import ResourceKind, Stored
from remit.catalog.trees import read_tree
from remit.catalog.web_settings import check_within_environment
from remit.clock import Clock
from remit.errors import Forbidden, InvalidRequest
from remit.gateway.routing import ModelRouter
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.remits.accounts import remit_grants
from remit.remits.events import (
    AgentRef,
    Amount,
    AnyEvent,
    Budget,
    EnvironmentRef,
    HarnessRef,
    RemitApproved,
    RemitCreated,
)
from remit.remits.forecaster import Forecaster
from remit.remits.money import format_usd, parse_usd
from remit.remits.state import RemitState
from remit.remits.working_session import environment_ref
from remit.schema.agents import AgentConfig, AgentCreate
from remit.schema.remits import BudgetParams, RemitCreate
from remit.schema.tools import AgentToolsetParams
from remit.schema.verifiers import CommandVerifier, RubricVerifier, VerifierParams
from remit.streams.grants import opening_effects
from remit.streams.streams import Streams
from remit.values import ConsentReason, JsonObject, Principal, Value
from remit.verifiers.composition import Verifiers

DEFAULT_AGENT_ID = "agent_remit_coder"
DEFAULT_AGENT_NAME = "remit-coder"
OPERATOR_SCOPE = "operator"


class InputBody(Value, frozen=True, kw_only=True):
    """The body of an uploaded input in the catalog."""

    size_bytes: int
    files: int
    has_history: bool
    tree_digest: str
    history_digest: str | None = None


INPUT = ResourceKind(name="input", id_prefix="input", config=InputBody)


class RemitCreation:
    """Checks a request and writes the first rows; what then happens is the handler's."""

    def __init__(
        self,
        *,
        remits: Streams[RemitState],
        catalog: Catalog,
        blobs: OwnedBlobs,
        agents: Agents,
        environments: Environments,
        harnesses: Harnesses,
        router: ModelRouter,
        forecaster: Forecaster,
        verifiers: Verifiers,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._remits = remits
        self._catalog = catalog
        self._blobs = blobs
        self._agents = agents
        self._environments = environments
        self._harnesses = harnesses
        self._router = router
        self._forecaster = forecaster
        self._verifiers = verifiers
        self._clock = clock
        self._ids = ids

    async def create(self, principal: Principal, params: RemitCreate) -> str:
        """The new remit's id. Raises InvalidRequest, NotFound, WrongState, Forbidden, ModelUnavailable, Unpriced,
        VerifierUnavailable, SandboxUnavailable; then nothing was written."""
        budget = read_budget(params.budget)
        if not params.outcome.strip():
            raise InvalidRequest("`outcome`: is blank; say what must be true when the work is done.")
        if params.toolchains and OPERATOR_SCOPE not in principal.scopes:
            raise Forbidden("`toolchains`: naming folders of the host needs a key with the `operator` scope.")
        given_verifiers = read_verifiers(params)
        check_setup(params)
        given = await self._input(principal, params.input_id)
        environment = await self._environment(principal, params.environment_id)
        agent, model = await self._agent(principal, params)
        if environment is not None and params.agent is not None:
            check_within_environment(agent.config.tools, environment.config, field="agent")
            check_servers_reachable(agent.config.mcp_servers, environment.config, field="agent")
        verifiers = _with_grader_model(given_verifiers, model)
        created = RemitCreated(
            outcome=params.outcome,
            verifiers=tuple(verifiers),
            budget=budget,
            agent=_agent_ref(agent, model),
            model=model,
            max_iterations=params.max_iterations,
            input_id=params.input_id,
            tree_digest=given.tree_digest if given is not None else None,
            history_digest=given.history_digest if given is not None else None,
            input_bytes=given.size_bytes if given is not None else 0,
            protect=tuple(params.protect or ()),
            unprotect=tuple(params.unprotect or ()),
            work=tuple(params.work or ()),
            despite=read_despite(params.despite),
            toolchains=tuple(params.toolchains or ()),
            setup=params.setup,
            environment=environment,
            metadata=dict(params.metadata or {}),
            paid_by=principal.actor,
        )
        await self._forecaster.forecast(created)  # what cannot be forecast is refused now
        await self._check_verifiers(principal, verifiers, params, environment)
        events: list[AnyEvent] = [created]
        if params.consent == "given":
            events.append(RemitApproved(actor=principal.actor, reason="given at creation"))
        return await self._write(principal, events, created)

    async def _write(self, principal: Principal, events: Sequence[AnyEvent], created: RemitCreated) -> str:
        remit_id = self._ids.new("remit")
        digests = [d for d in (created.tree_digest, created.history_digest) if d is not None]
        for digest in tuple(digests):
            tree = await read_tree(self._blobs, digest)
            digests += [entry.sha256 for entry in tree.entries if entry.sha256 is not None]
        accounts = opening_effects(remit_grants(remit_id, created.budget, reserve=Amount()))
        async with self._blobs.puts(principal, remit_id) as puts:
            await puts.need(digests)
            await puts.commit()
            await self._remits.create(
                principal, remit_id, *events, effects=accounts, wake_at_us=self._clock.now_us()
            )
        return remit_id

    async def _input(self, principal: Principal, input_id: str | None) -> InputBody | None:
        if input_id is None:
            return None
        return INPUT.read(await self._catalog.retrieve(principal, INPUT.name, input_id)).config

    async def _environment(self, principal: Principal, environment_id: str | None) -> EnvironmentRef | None:
        if environment_id is None:
            return None
        return environment_ref(await self._environments.usable(principal, environment_id))

    async def _agent(self, principal: Principal, params: RemitCreate) -> tuple[Stored[AgentConfig], str]:
        if params.agent is not None:
            agent = await usable_agent(self._agents, principal, params.agent, None)
            return agent, params.model or str(agent.config.model["id"])
        model = params.model or await self._router.default_model()
        await self._router.resolve(model)
        return await self._default_agent(principal, model), model

    async def _default_agent(self, principal: Principal, model: str) -> Stored[AgentConfig]:
        """The workspace's own agent for remits, made at first use through the rules every agent obeys."""
        config = resolve_create(
            AgentCreate(name=DEFAULT_AGENT_NAME, model=model, tools=[AgentToolsetParams()]),
            self._harnesses,
            self._agents.web,
        )
        await self._agents.ensure(principal, DEFAULT_AGENT_ID, config)
        return await usable_agent(self._agents, principal, DEFAULT_AGENT_ID, None)

    async def _check_verifiers(
        self,
        principal: Principal,
        verifiers: Sequence[JsonObject],
        params: RemitCreate,
        environment: EnvironmentRef | None,
    ) -> None:
        has_packages = environment is not None and bool(packages_of(environment.config))
        await self._verifiers.check_all(
            principal,
            list(verifiers),
            toolchains=params.toolchains or (),
            has_packages=has_packages or params.setup is not None,
        )


def read_budget(params: BudgetParams) -> Budget:
    """Read a budget: at least one unit, and more than nothing of it."""
    if params.usd is None and params.tokens is None:
        raise InvalidRequest('`budget`: is empty; give {"usd": "2.00"}, {"tokens": 50000} or both.')
    if params.usd is None:
        return Budget(tokens=params.tokens)
    nano_usd = parse_usd(params.usd)
    if not nano_usd:
        raise InvalidRequest('`budget.usd`: must be more than zero, such as "2.00".')
    return Budget(usd=format_usd(nano_usd), tokens=params.tokens)


def read_despite(names: Sequence[str] | None) -> tuple[ConsentReason, ...]:
    """The reasons that are accepted by name, each once; which there are is checked where the request is read."""
    return tuple(dict.fromkeys(cast("list[ConsentReason]", names or [])))


def check_setup(params: RemitCreate) -> None:
    """Raise InvalidRequest for a setup of nothing."""
    if params.setup is None:
        return
    if params.input_id is None:
        raise InvalidRequest("`setup`: runs on a copy of the input, and there is none; give `input_id`.")
    if not params.setup.strip():
        raise InvalidRequest('`setup`: is blank; give a command such as "npm ci", or leave it away.')


def read_verifiers(params: RemitCreate) -> list[JsonObject]:
    """The composition: what was given, the rubric as one more, and the remit's globs in every command."""
    given: list[VerifierParams] = [
        replace(
            verifier,
            protect=[*verifier.protect, *(params.protect or ())],
            unprotect=[*verifier.unprotect, *(params.unprotect or ())],
            work=[*verifier.work, *(params.work or ())],
        )
        if isinstance(verifier, CommandVerifier)
        else verifier
        for verifier in params.verifiers or ()
    ]
    if params.rubric is not None:
        given.append(RubricVerifier(rubric=params.rubric))
    if not given:
        raise InvalidRequest(
            "`verifiers`: is required (a command or a rubric that decides), or give `rubric`."
        )
    return cast("list[JsonObject]", msgspec.to_builtins(given))


def _with_grader_model(verifiers: Sequence[JsonObject], model: str) -> list[JsonObject]:
    """A rubric without a model is graded by the remit's own, in a context of its own."""
    return [
        {**verifier, "model": model} if verifier["type"] == "rubric" and "model" not in verifier else verifier
        for verifier in verifiers
    ]


def _agent_ref(agent: Stored[AgentConfig], model: str) -> AgentRef:
    harness = agent.config.harness
    return AgentRef(
        id=agent.id,
        version=agent.version,
        name=agent.config.name,
        model=model,
        harness=HarnessRef(name=harness["name"], version=harness["version"]),
    )
