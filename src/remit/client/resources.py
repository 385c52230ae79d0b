"""The API's resources as both clients offer them."""

from __future__ import annotations

from typing import TypeVar

from remit.client.calls import (
    Caller,
    Method,
    Resource,
    bytes_of,
    bytes_of_two,
    call,
    call_one,
    call_two,
    items,
    items_of,
    stream_of,
)
from remit.schema import (
    agents,
    caps,
    deployments,
    environments,
    files,
    inspection,
    keys,
    memory_stores,
    model_calls,
    models,
    previews,
    receipts,
    remits,
    sessions,
    stream_operations,
)
from remit.schema import events as event_calls
from remit.schema import resources as resource_calls
from remit.schema.wire import JsonMap

M = TypeVar("M")


class Remits(Resource[M]):
    """Outcomes with budgets."""

    create = call(remits.CREATE)
    retrieve = call_one(remits.RETRIEVE)
    list = items(remits.LIST)
    events = items_of(remits.EVENTS)
    stream = stream_of(remits.STREAM, after="0")
    approve = call_one(remits.APPROVE)
    decline = call_one(remits.DECLINE)
    interrupt = call_one(remits.INTERRUPT)
    resume = call_one(remits.RESUME)
    raise_budget = call_one(remits.RAISE_BUDGET)
    attend = call_one(remits.ATTEND)
    verify = call_one(remits.VERIFY)
    check = call_one(remits.CHECK)
    why = call_one(remits.WHY)
    receipt = call_one(receipts.RECEIPT)
    deliverables = call_one(remits.DELIVERABLES)
    download = bytes_of_two(remits.DOWNLOAD)


class Agents(Resource[M]):
    """Stored, versioned configurations."""

    create = call(agents.CREATE)
    retrieve = call_one(agents.RETRIEVE)
    update = call_one(agents.UPDATE)
    archive = call_one(agents.ARCHIVE)
    list = items(agents.LIST)
    versions = items_of(agents.VERSIONS)


class Environments(Resource[M]):
    """Templates of where tools run."""

    create = call(environments.CREATE)
    retrieve = call_one(environments.RETRIEVE)
    update = call_one(environments.UPDATE)
    archive = call_one(environments.ARCHIVE)
    delete = call_one(environments.DELETE)
    list = items(environments.LIST)


class Sessions(Resource[M]):
    """Runs of agents, and their events."""

    create = call(sessions.CREATE)
    retrieve = call_one(sessions.RETRIEVE)
    update = call_one(sessions.UPDATE)
    archive = call_one(sessions.ARCHIVE)
    delete = call_one(sessions.DELETE)
    list = items(sessions.LIST)
    send = call_one(event_calls.SEND)
    events = items_of(event_calls.LIST)
    stream = stream_of(event_calls.STREAM)
    threads = items_of(sessions.THREADS)
    thread = call_two(sessions.THREAD)
    accounts = call_one(sessions.ACCOUNTS)
    check = call_one(sessions.CHECK)
    why = call_one(sessions.WHY)
    services = call_one(previews.SERVICES)
    preview = call_one(previews.CREATE)
    add_resource = call_one(resource_calls.ADD)
    resources = items_of(resource_calls.LIST)
    resource = call_two(resource_calls.RETRIEVE)
    remove_resource = call_two(resource_calls.DELETE)


class Deployments(Resource[M]):
    """Agents that run by themselves."""

    create = call(deployments.CREATE)
    retrieve = call_one(deployments.RETRIEVE)
    update = call_one(deployments.UPDATE)
    list = items(deployments.LIST)
    pause = call_one(deployments.PAUSE)
    unpause = call_one(deployments.UNPAUSE)
    archive = call_one(deployments.ARCHIVE)
    run = call_one(deployments.RUN)
    runs = items(deployments.LIST_RUNS)
    retrieve_run = call_one(deployments.RETRIEVE_RUN)
    events = items_of(deployments.EVENTS)
    stream = stream_of(deployments.STREAM, after="0")
    check = call_one(deployments.CHECK)
    why = call_one(deployments.WHY)


class Streams(Resource[M]):
    """Remits, sessions, deployments and whatever else has a log, by id."""

    why = call_one(stream_operations.WHY)
    check = call_one(stream_operations.CHECK)


class MemoryStores(Resource[M]):
    """Texts that agents keep between sessions, with their versions."""

    create = call(memory_stores.CREATE)
    retrieve = call_one(memory_stores.RETRIEVE)
    update = call_one(memory_stores.UPDATE)
    archive = call_one(memory_stores.ARCHIVE)
    delete = call_one(memory_stores.DELETE)
    list = items(memory_stores.LIST)
    add = call_one(memory_stores.CREATE_MEMORY)
    memories = items_of(memory_stores.LIST_MEMORIES)
    memory = call_two(memory_stores.RETRIEVE_MEMORY)
    change = call_two(memory_stores.UPDATE_MEMORY)
    remove = call_two(memory_stores.DELETE_MEMORY)
    versions = items_of(memory_stores.LIST_VERSIONS)
    version = call_two(memory_stores.RETRIEVE_VERSION)
    redact = call_two(memory_stores.REDACT_VERSION)


class Files(Resource[M]):
    """Bytes with a name."""

    list = items(files.LIST)
    retrieve = call_one(files.RETRIEVE)
    delete = call_one(files.DELETE)
    download = bytes_of(files.DOWNLOAD)


class Models(Resource[M]):
    """The models that can be called."""

    list = call(models.LIST)
    retrieve = call_one(models.RETRIEVE)


class Messages(Resource[M]):
    """Model calls that somebody makes directly."""

    create: Method[..., JsonMap] = call(model_calls.MESSAGES)
    count_tokens: Method[..., model_calls.TokenCount] = call(model_calls.COUNT_TOKENS)


class Keys(Resource[M]):
    """The keys that may call, and links for people; all but `link` need an operator's key."""

    create = call(keys.CREATE)
    list = items(keys.LIST)
    revoke = call_one(keys.REVOKE)
    link = call(keys.LINK)


class Caps(Resource[M]):
    """The caps on spending per period; setting one needs an operator's key."""

    list = call(caps.LIST)
    set = call(caps.SET)


class Everything(Resource[M]):
    """All there is, as both clients have it."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)
        self.remits = Remits[M](caller)
        self.agents = Agents[M](caller)
        self.environments = Environments[M](caller)
        self.sessions = Sessions[M](caller)
        self.deployments = Deployments[M](caller)
        self.streams = Streams[M](caller)
        self.memory_stores = MemoryStores[M](caller)
        self.files = Files[M](caller)
        self.models = Models[M](caller)
        self.messages = Messages[M](caller)
        self.keys = Keys[M](caller)
        self.caps = Caps[M](caller)

    stop = call(inspection.STOP)
    doctor = call(inspection.DOCTOR)
    reconcile = call(caps.RECONCILE)
