"""Deployments as a kind of stream."""

from __future__ import annotations

from typing import cast

import msgspec

from remit.deployments.rows import ROWS
from remit.deployments.state import DeploymentState, fold
from remit.deployments.views import deployment_view, explain_deployment, status_of
from remit.schema import deployments, streams
from remit.streams.kinds import Sight, StreamKind
from remit.streams.waiting import Why
from remit.streams.writer import StreamWriter
from remit.values import JsonObject, StreamSummary

DeploymentWriter = StreamWriter[DeploymentState]


def summarize(state: DeploymentState) -> StreamSummary:
    """The columns that a list of deployments shows."""
    return StreamSummary(
        status=status_of(state),
        title=state.asked.name,
        agent_id=state.asked.agent_id,
        agent_version=state.asked.agent_version,
        archived_at_us=state.archived_at_us,
    )


async def _view(sight: Sight[DeploymentState]) -> JsonObject:
    head = sight.head
    view = deployment_view(head.stream_id, sight.state, created_at_us=head.created_at_us, now_us=sight.now_us)
    return cast("JsonObject", msgspec.to_builtins(view))


def _derive(deployment_id: str, state: DeploymentState) -> JsonObject:
    view = deployment_view(deployment_id, state, created_at_us=0, now_us=0)
    derived = cast("JsonObject", msgspec.to_builtins(view))
    return {name: value for name, value in derived.items() if name not in ("created_at", "schedule")}


async def _explain(sight: Sight[DeploymentState]) -> Why:
    path = sight.names.path_of(sight.head.stream_id)
    return explain_deployment(sight.state, sight.head, path, now_us=sight.now_us)


DEPLOYMENT = StreamKind[DeploymentState](
    names=streams.DEPLOYMENT,
    event_prefix="devt",
    rows=ROWS,
    start=DeploymentState,
    fold=fold,
    summarize=summarize,
    view=_view,
    operations=deployments.OPERATIONS,
    derive=_derive,
    explain=_explain,
)
