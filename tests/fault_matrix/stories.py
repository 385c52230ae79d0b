"""What people do with the platform while things go wrong. A story can be told again from its beginning after every death:
each step first looks whether it was done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fault_matrix.person import Person, Refused, tar_of
from fault_matrix.world import MODEL
from remit.values import JsonObject

FEEDBACK = "is not done yet"
TICKET = "ticket"
TOOLSET: JsonObject = {"type": "agent_toolset_20260401"}


def bash(command: str) -> JsonObject:
    return {"name": "bash", "input": {"command": command}}


def write(path: str, content: str) -> JsonObject:
    return {"name": "write", "input": {"file_path": path, "content": content}}


def edit(path: str, old: str, new: str) -> JsonObject:
    return {"name": "edit", "input": {"file_path": path, "old_string": old, "new_string": new}}


def rule(text: str, *steps: JsonObject) -> JsonObject:
    """What the model does after the user said this."""
    return {"when": {"last_user_contains": text}, "steps": list(steps)}


@dataclass(frozen=True)
class Story:
    """`play` returns what is wrong with how it ended, for the people in it."""

    name: str
    script: JsonObject
    play: Callable[[Person], Awaitable[list[str]]]
    tools: Sequence[JsonObject] = (TOOLSET,)
    has_surviving_sandboxes: bool = False
    has_check_runs: bool = False
    """Verifiers wait for a service elsewhere."""


# ------------------------------------------------------------------------------------------------ with tools


async def _tools(person: Person) -> list[str]:
    reader = await person.session()
    first = await person.tell("first: look around")
    await person.idle_after(reader, first)
    second = await person.tell("second: go on")
    idle = await person.idle_after(reader, second)
    return _ended(idle, "end_turn")


TOOLS_SCRIPT: JsonObject = {
    "rules": [
        rule(
            "first",
            {"text": "I look around.", "tool_uses": [bash(TICKET), bash(f"{TICKET}; sleep 8")]},
            {
                "text": "I try something.",
                "fault": {"kind": "overloaded", "times": 1},
                "tool_uses": [write("/workspace/answer.txt", "41\n")],
            },
            {"text": "That should be it."},
        ),
        rule("second", {"tool_uses": [edit("answer.txt", "41", "42"), bash(TICKET)]}, {"text": "Now it is."}),
    ],
    "default": {"text": "Nothing more to do."},
}


# --------------------------------------------------------------------------------------- somebody must answer


async def _asks(person: Person) -> list[str]:
    reader = await person.session()
    asked = await person.tell("please ask me")
    while True:
        idle: Any = await person.idle_after(reader, asked)
        if _reason(idle) != "requires_action":
            return _ended(idle, "end_turn")
        uses = {str(event["id"]): event for event in reader.log}
        for use_id in idle["stop_reason"]["event_ids"]:
            asked = await _answer(person, use_id, str(uses[use_id]["type"]))


async def _answer(person: Person, use_id: str, type: str) -> str:
    if type == "agent.custom_tool_use":
        answer: JsonObject = {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": use_id,
            "content": [{"type": "text", "text": "it is 42"}],
        }
        return await person.send_once(answer, lambda one: one.get("custom_tool_use_id") == use_id)
    answer = {"type": "user.tool_confirmation", "tool_use_id": use_id, "result": "allow"}
    return await person.send_once(
        answer, lambda one: one["type"] == "user.tool_confirmation" and one.get("tool_use_id") == use_id
    )


ASKS_SCRIPT: JsonObject = {
    "steps": [
        {"text": "May I?", "tool_uses": [bash(TICKET), bash(TICKET)]},
        {"text": "Look it up.", "tool_uses": [{"name": "look_up", "input": {"what": "answer"}}]},
        {"text": "Thank you."},
    ],
    "default": {"text": "Nothing more to do."},
}
ASKING_TOOLS: list[JsonObject] = [
    {**TOOLSET, "default_config": {"permission_policy": {"type": "always_ask"}}},
    {
        "type": "custom",
        "name": "look_up",
        "description": "Looks something up.",
        "input_schema": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
]


# ---------------------------------------------------------------------------------------------- an outcome


async def _outcome(person: Person) -> list[str]:
    reader = await person.session()
    outcome: JsonObject = {
        "type": "user.define_outcome",
        "description": "answer.txt holds the answer",
        "verifiers": [{"type": "command", "command": "grep -qx 42 answer.txt"}],
        "max_iterations": 8,
    }
    asked = await person.send_once(outcome, lambda one: one["type"] == "user.define_outcome")
    idle = await person.idle_after(reader, asked)
    results = [str(event["result"]) for event in reader.seen("span.outcome_evaluation_end")]
    wrong = _ended(idle, "end_turn")
    if results[-1:] != ["satisfied"]:
        wrong.append(f"the outcome ended as {results}")
    return wrong


OUTCOME_SCRIPT: dict[str, Any] = {
    "rules": [
        # What a crash took from a revision is done again after the next feedback.
        rule(
            FEEDBACK,
            {"text": "One more.", "tool_uses": [bash(TICKET), write("/workspace/answer.txt", "42\n")]},
            {"text": "Now it is."},
        )
    ],
    "steps": [
        {"text": "I try.", "tool_uses": [write("/workspace/answer.txt", "41\n"), bash(TICKET)]},
        {"text": "Done."},
    ],
    "default": {"text": "Nothing more to do."},
}


async def _waiting_outcome(person: Person) -> list[str]:
    """Its verifier waits for a check run; the sandbox is put away meanwhile."""
    reader = await person.session()
    outcome: JsonObject = {
        "type": "user.define_outcome",
        "description": "the checks are green",
        "verifiers": [{"type": "command", "command": "ci"}],
    }
    asked = await person.send_once(outcome, lambda one: one["type"] == "user.define_outcome")
    idle = await person.idle_after(reader, asked)
    results = [str(event["result"]) for event in reader.seen("span.outcome_evaluation_end")]
    wrong = _ended(idle, "end_turn")
    if results != ["satisfied"]:
        wrong.append(f"the outcome ended as {results}")
    told = [event for event in reader.seen("span.outcome_evaluation_ongoing") if "waits_for" in event]
    if not told:
        wrong.append("nobody was told what it waits for")
    return wrong


WAITING_SCRIPT: JsonObject = {
    "steps": [
        {"text": "I try.", "tool_uses": [write("/workspace/answer.txt", "42\n"), bash(TICKET)]},
        {"text": "Done."},
    ],
    "default": {"text": "Nothing more to do."},
}


# ------------------------------------------------------------------------------------------------ a remit


async def commission(person: Person, **fields: Any) -> str:
    if "remit" not in person.known:
        there: Any = await person.all("/v1/remits")
        if there:
            person.known["remit"] = there[0]["id"]
    if "remit" not in person.known:
        if "input" not in person.known:
            files = {"answer.txt": "unknown\n", "check.sh": "grep -qx 42 answer.txt\n"}
            uploaded = await person.request(
                "POST", "/v1/remits/inputs", tar_of(files), content_type="application/x-tar"
            )
            person.known["input"] = uploaded["id"]
        asked = {
            "outcome": "answer.txt holds the answer",
            "model": MODEL,
            "input_id": person.known["input"],
            "verifiers": [{"type": "command", "command": "grep -qx 42 answer.txt"}],
            "max_iterations": 8,
            **fields,
        }
        person.known["remit"] = (await person.post("/v1/remits", asked))["id"]
    return f"/v1/remits/{person.known['remit']}"


async def _until(person: Person, path: str, is_enough: Callable[[list[JsonObject]], bool]) -> None:
    """Follow a remit for so long. What waits for people, as a refused key does, goes on when they say so."""
    reader = person.reader(f"{path}/events/stream")
    answered = 0

    def waiting(log: list[JsonObject]) -> list[JsonObject]:
        return [one for one in log if one["type"] == "remit.paused" and one["wake_at"] is None][answered:]

    while not is_enough(reader.log):
        await reader.until(lambda log: is_enough(log) or waiting(log))
        if waiting(reader.log) and not is_enough(reader.log):
            answered += 1
            await person.post(f"{path}/resume")


def _has_ended(log: list[JsonObject]) -> bool:
    return any(one["type"] == "remit.ended" for one in log)


async def _follow_remit(person: Person, path: str, status: str, *, tampered: Sequence[str] = ()) -> list[str]:
    remit: Any = await person.get(path)
    if remit["status"] in ("verifying_input", "awaiting_consent"):  # a yes may come before the question
        await person.post(f"{path}/approve")
    await _until(person, path, _has_ended)
    remit = await person.get(path)
    if tampered and await _may_not_have_run(person, remit["session_ids"]):
        tampered = remit["tampered"]
    wrong: list[str] = []
    if remit["status"] != status:
        wrong.append(f"the remit ended as {remit['status']}: {remit['explanation']}")
    # A death may have taken the cheat with its sandbox.
    is_tampered_rightly = remit["tampered"] in ([], list(tampered))
    if remit["verified"] != (status == "satisfied") or remit["vacuous"] or not is_tampered_rightly:
        wrong.append(f"verified {remit['verified']}, {remit['vacuous']}, {remit['tampered']}")
    if status == "satisfied":
        delivered: Any = await person.get(f"{path}/deliverables")
        changed = {one["path"] for one in delivered["changed"]}
        if changed != {"answer.txt"} or not delivered["data"]:
            wrong.append(f"deliverables: {delivered}")
    return wrong


async def _may_not_have_run(person: Person, session_ids: Sequence[str]) -> bool:
    """Whether a tool was started and its end is not known: then what it was to do may not have been done."""
    events = [one for id in session_ids for one in await person.all(f"/v1/sessions/{id}/events")]
    return any(one.get("may_have_run") for one in events)


async def _remit(person: Person) -> list[str]:
    path = await commission(person, budget={"usd": "20.00", "tokens": 2_000_000})
    return await _follow_remit(person, path, "satisfied")


async def _dear_remit(person: Person) -> list[str]:
    path = await commission(person, budget={"usd": "0.60"})
    return await _follow_remit(person, path, "budget_reached")


async def _cheat(person: Person) -> list[str]:
    path = await commission(
        person,
        budget={"usd": "20.00", "tokens": 2_000_000},
        verifiers=[{"type": "command", "command": "bash check.sh"}],
        max_iterations=1,
    )
    return await _follow_remit(person, path, "unsatisfied", tampered=["check.sh"])


async def _raised_remit(person: Person) -> list[str]:
    path = await commission(person, budget={"usd": "0.60"})
    if not await _is_reopened(person, path):
        wrong = await _follow_remit(person, path, "budget_reached")
        if wrong and not await _is_reopened(person, path):
            return wrong
    if not await _is_reopened(person, path):
        await person.post(f"{path}/budget", {"usd": "20.00"})
    reader = person.reader(f"{path}/events/stream")
    for listener in person.readers.values():
        if listener.path == reader.path:
            person.follow(listener)  # the streams ended with the remit
    await _until(person, path, _ended_again)
    return await _follow_remit(person, path, "satisfied")


async def _is_reopened(person: Person, path: str) -> bool:
    events: Any = await person.all(f"{path}/events")
    return any(event["type"] == "remit.reopened" for event in events)


def _ended_again(log: list[JsonObject]) -> bool:
    types = [str(event["type"]) for event in log]
    return "remit.reopened" in types and "remit.ended" in types[types.index("remit.reopened") :]


CHEAT_SCRIPT: JsonObject = {
    "steps": [
        {"text": "I know a short cut.", "tool_uses": [bash(TICKET), write("/workspace/check.sh", "true\n")]}
    ],
    "default": {"text": "Done."},
}
RAISED_SCRIPT: JsonObject = {
    "rules": OUTCOME_SCRIPT["rules"],
    "steps": [
        *[{"text": "thinking " * 1500, "tool_uses": [bash(TICKET)]}] * 3,
        *OUTCOME_SCRIPT["steps"],
    ],
    "default": {"text": "Nothing more to do."},
}
OUTAGE_SCRIPT: JsonObject = {
    **OUTCOME_SCRIPT,
    "steps": [
        {**OUTCOME_SCRIPT["steps"][0], "fault": {"kind": "overloaded", "times": 11}},
        *OUTCOME_SCRIPT["steps"][1:],
    ],
}
SPENDTHRIFT_SCRIPT: JsonObject = {"default": {"text": "thinking " * 1500, "tool_uses": [bash(TICKET)]}}


# ------------------------------------------------------------------------------------------ an interruption


async def _interrupted(person: Person) -> list[str]:
    reader = await person.session()
    first = await person.tell("first: take your time")
    await reader.until(lambda log: [one for one in log if one["type"] == "agent.tool_use"] or _idle(log))
    stop: JsonObject = {"type": "user.interrupt"}
    interrupt = await person.send_once(stop, lambda one: one["type"] == "user.interrupt")
    await reader.until(lambda log: [one for one in log if one["id"] == interrupt])
    await person.idle_after(reader, first)
    second = await person.tell("second: quickly now")
    return _ended(await person.idle_after(reader, second), "end_turn")


INTERRUPTED_SCRIPT: JsonObject = {
    "rules": [
        rule(
            "first",
            {"text": "This takes a while.", "tool_uses": [bash(f"{TICKET}; sleep 60")]},
            {"text": "Done after all."},
        ),
        rule("second", {"tool_uses": [write("/workspace/answer.txt", "42\n")]}, {"text": "Done."}),
    ],
    "default": {"text": "Nothing more to do."},
}


# ------------------------------------------------------------------------------------------------- a budget


def _limit(cents: int) -> JsonObject:
    return {"type": "limit", "max_list_cost": {"amount": str(cents), "currency": "USD"}}


async def _budget(person: Person) -> list[str]:
    reader = await person.session(budget=_limit(20))
    asked = await person.tell("spend it")
    idle: Any = await person.idle_after(reader, asked)
    if _reason(idle) == "budget_reached":
        session: Any = await person.get(person.session_path)
        if session["budget"]["max_list_cost"]["amount"] == "20":
            await person.post(person.session_path, {"budget": _limit(2_000)})
        idle = await reader.until(_idle_with_money)
        return _ended(idle, "end_turn")
    if "session.updated" not in [one["type"] for one in reader.log]:
        return [f"it ended as {_reason(idle)} and the budget was never reached"]
    return []


BUDGET_SCRIPT: JsonObject = {
    "steps": [
        {"text": "thinking " * 300, "tool_uses": [bash(TICKET)]},
        {"text": "thinking " * 300, "tool_uses": [bash(TICKET)]},
        {"text": "thinking " * 300, "tool_uses": [bash(TICKET)]},
        {"text": "thinking " * 300, "tool_uses": [bash(TICKET)]},
    ],
    "default": {"text": "That was all."},
}


# ------------------------------------------------------------------------------------- archived and deleted


async def _put_away(person: Person) -> list[str]:
    reader = await person.session()
    if "archived" not in person.known:
        # Who is refused here has archived it, and never heard so.
        with suppress(Refused):
            await person.idle_after(reader, await person.tell("first: look around"))
        await person.post(f"{person.session_path}/archive")
        person.known["archived"] = True
    wrong: list[str] = []
    if "deleted" not in person.known:
        try:
            await person.post(
                f"{person.session_path}/events",
                {"events": [{"type": "user.message", "content": [{"type": "text", "text": "late"}]}]},
            )
            wrong.append("an archived session took a message")
        except Refused as refused:
            if refused.status not in (400, 404):
                wrong.append(f"an archived session answered {refused}")
        try:
            await person.request("DELETE", person.session_path)
        except Refused as refused:
            if refused.status != 404:  # it was deleted, and nobody said so
                raise
        person.known["deleted"] = True
    try:
        await person.get(person.session_path)
        wrong.append("a deleted session is still there")
    except Refused as refused:
        if refused.status != 404:
            wrong.append(f"a deleted session answered {refused}")
    return wrong


# --------------------------------------------------------------------------------------------- a long history


async def _compacted(person: Person) -> list[str]:
    reader = await person.session()
    idle = await person.idle_after(reader, await person.tell("first: " + "read this " * 5_000))
    idle = await person.idle_after(reader, await person.tell("second: go on"))
    wrong = _ended(idle, "end_turn")
    if not reader.seen("agent.thread_context_compacted"):
        wrong.append("nothing was summarised")
    return wrong


COMPACTED_SCRIPT: JsonObject = {
    "rules": [
        rule("Write that summary now", {"text": "They wanted me to read."}),
        rule("second", {"tool_uses": [bash(TICKET)]}, {"text": "Done."}),
        rule("first", {"tool_uses": [bash(TICKET)]}, {"text": "I have read it."}),
    ],
    "default": {"text": "Nothing more to do."},
    "context_tokens": 20_000,
}


# ---------------------------------------------------------------------------------------------- deployments


EVERY_MINUTE: JsonObject = {"type": "cron", "expression": "* * * * *", "timezone": "Europe/Berlin"}


async def _deploy(person: Person) -> str:
    if "deployment" not in person.known:
        there: Any = await person.get("/v1/deployments?include_archived=true")
        if there["data"]:
            person.known["deployment"] = there["data"][0]["id"]
    if "deployment" not in person.known:
        asked = {
            "name": "every minute",
            "agent": person.agent_id,
            "environment_id": person.environment_id,
            "initial_events": [
                {"type": "user.message", "content": [{"type": "text", "text": "first: look around"}]}
            ],
            "budget": _limit(2_000),
            "schedule": EVERY_MINUTE,
        }
        person.known["deployment"] = (await person.post("/v1/deployments", asked))["id"]
    return f"/v1/deployments/{person.known['deployment']}"


async def _deployment(person: Person) -> list[str]:
    path = await _deploy(person)
    reader = person.reader(f"{path}/events/stream")
    await reader.until(lambda log: len(_of(log, "deployment_run.succeeded")) >= 2)
    return await _archived(person, path)


async def _failing_deployment(person: Person) -> list[str]:
    path = await _deploy(person)
    reader = person.reader(f"{path}/events/stream")
    if not (await _runs(person, "trigger_type=manual")):
        await person.post(f"{path}/run")
    wrong: list[str] = []
    if not _of(reader.log, "deployment.unpaused"):
        deployed: Any = await person.get(path)
        if deployed["environment_id"] == person.environment_id:
            await person.post(f"/v1/environments/{person.environment_id}/archive")
        await reader.until(lambda log: _of(log, "deployment.paused"))
        deployed = await person.get(path)
        reason = {"type": "error", "error": {"type": "environment_archived_error"}}
        if deployed["status"] == "paused" and deployed["paused_reason"] != reason:
            wrong.append(f"paused for {deployed['paused_reason']}")
        if deployed["environment_id"] == person.environment_id:
            place: Any = await person.post("/v1/environments", {"name": "another place"})
            await person.post(path, {"environment_id": place["id"]})
        await person.post(f"{path}/unpause")
    await reader.until(_ran_again)
    failed = await _runs(person, "has_error=true")
    if {run["error"]["type"] for run in failed} != {"environment_archived_error"} or len(failed) != 1:
        wrong.append(f"failed runs: {failed}")
    return wrong + await _archived(person, path)


def _ran_again(log: list[JsonObject]) -> bool:
    types = [str(event["type"]) for event in log]
    unpaused = "deployment.unpaused" in types
    return unpaused and "deployment_run.succeeded" in types[types.index("deployment.unpaused") :]


async def _archived(person: Person, path: str) -> list[str]:
    """Put it away, let its sessions end, and look whether each run has the session that its log names."""
    await person.post(f"{path}/archive")
    while True:  # a run that was begun is carried out, and listed after that
        is_over = (await person.get(f"{path}/why"))["waits_for"] == "nobody"
        ran = _of(await person.all(f"{path}/events"), "deployment_run.succeeded", "deployment_run.failed")
        listed = {run["id"] for run in await _runs(person, "limit=1000")}
        if is_over and listed == {str(event["run_id"]) for event in ran}:
            break
        await asyncio.sleep(1.0)
    wrong: list[str] = []
    opened = {str(event["session_id"]) for event in ran if "session_id" in event}
    there: Any = await person.get(f"/v1/sessions?limit=100&deployment_id={person.known['deployment']}")
    if {session["id"] for session in there["data"]} != opened:
        wrong.append(f"{len(there['data'])} sessions are there, {len(opened)} were opened")
    times = [event["scheduled_at"] for event in ran if event["scheduled_at"] is not None]
    if len(times) != len(set(times)):
        wrong.append(f"a time was fired twice: {times}")
    for session_id in sorted(opened):
        await person.reader(f"/v1/sessions/{session_id}/events/stream").until(_rests)
    return wrong


async def _runs(person: Person, query: str) -> Any:
    return (await person.get(f"/v1/deployment_runs?{query}"))["data"]


def _of(log: list[JsonObject], *types: str) -> list[JsonObject]:
    return [event for event in log if event["type"] in types]


def _rests(log: list[JsonObject]) -> bool:
    status = [event for event in log if str(event["type"]).startswith("session.status_")]
    return bool(status) and status[-1]["type"] in ("session.status_idle", "session.status_terminated")


# ------------------------------------------------------------------------------------------ the gateway alone


async def _direct(person: Person) -> list[str]:
    for number in range(person.known.get("calls", 0), 3):
        body = {
            "model": MODEL,
            "max_tokens": 200,
            "messages": [{"role": "user", "content": f"question {number}"}],
        }
        answer = await person.post("/v1/messages", body)
        if answer["type"] != "message":
            return [f"it answered {answer}"]
        person.known["calls"] = number + 1
    return []


def _idle_with_money(log: list[JsonObject]) -> Any:
    idles: list[Any] = [
        one for one in log if one["type"] in ("session.status_idle", "session.status_terminated")
    ]
    return idles[-1] if idles and _reason(idles[-1]) != "budget_reached" else None


def _idle(log: list[JsonObject]) -> bool:
    return any(one["type"] == "session.status_idle" for one in log)


def _reason(idle: Any) -> str:
    return str(idle["stop_reason"]["type"]) if "stop_reason" in idle else "terminated"


def _ended(idle: Any, reason: str) -> list[str]:
    said = _reason(idle)
    return [] if said == reason else [f"the session ended as {said}"]


# ---------------------------------------------------------------------------------------------------- memory

NOTES = "/mnt/memory/notes"
MEMORY_SCRIPT: JsonObject = {
    "rules": [
        rule(
            "first",
            {"tool_uses": [write(f"{NOTES}/a.md", "one"), write(f"{NOTES}/b.md", "two"), bash(TICKET)]},
            {"text": "Noted."},
        ),
        rule(
            "second",
            {"tool_uses": [edit(f"{NOTES}/a.md", "one", "three"), bash(f"rm {NOTES}/b.md")]},
            {"tool_uses": [write(f"{NOTES}/deep/c.md", "four")]},
            {"text": "Noted again."},
        ),
    ],
    "default": {"text": "Nothing more to do."},
}


async def _memory(person: Person) -> list[str]:
    """What the model was told is done is in the store, and nothing was written twice."""
    store_id = await person.memory_store("Notes", {"/a.md": "zero"})
    resource = {"type": "memory_store", "memory_store_id": store_id}
    reader = await person.session(resources=[resource])
    first = await person.tell("first: note something")
    await person.idle_after(reader, first)
    second = await person.tell("second: note more")
    idle = await person.idle_after(reader, second)
    return [*_ended(idle, "end_turn"), *await _kept(person, store_id)]


async def _kept(person: Person, store_id: str) -> list[str]:
    path = f"/v1/memory_stores/{store_id}"
    versions: Any = (await person.get(f"{path}/memory_versions?view=full&limit=20"))["data"]
    memories: Any = (await person.get(f"{path}/memories?view=full"))["data"]
    wrong: list[str] = []
    last: dict[str, tuple[str, Any]] = {}
    for one in reversed(versions):
        what = (one["path"], one["content_sha256"])
        if last.get(one["memory_id"]) == what:
            wrong.append(f"version {one['id']} changes nothing")
        last[one["memory_id"]] = what
    made = [one["path"] for one in versions if one["operation"] == "created"]
    wrong += [f"{path} was made {made.count(path)} times" for path in set(made) if made.count(path) > 1]
    contents = {one["content"] for one in versions}
    events = await person.all(f"{person.session_path}/events")
    uses: Any = {one["id"]: one["input"] for one in events if one["type"] == "agent.tool_use"}
    results: Any = [one for one in events if one["type"] == "agent.tool_result"]
    done = [uses[one["tool_use_id"]] for one in results if not one["is_error"]]
    for input in done:
        text = input.get("content")
        if text is not None and text not in contents:
            wrong.append(f"{text!r} was said to be written, and the store never had it")
    if len(done) == len(results) == 6:
        there = {one["path"]: one["content"] for one in memories}
        if there != {"/a.md": "three", "/deep/c.md": "four"}:
            wrong.append(f"all was done, and the store has {there}")
    return wrong


STORIES: dict[str, Story] = {
    story.name: story
    for story in (
        Story("tools", TOOLS_SCRIPT, _tools),
        Story("tools in lasting sandboxes", TOOLS_SCRIPT, _tools, has_surviving_sandboxes=True),
        Story("memory", MEMORY_SCRIPT, _memory),
        Story("memory in lasting sandboxes", MEMORY_SCRIPT, _memory, has_surviving_sandboxes=True),
        Story("confirmations", ASKS_SCRIPT, _asks, tools=ASKING_TOOLS),
        Story("outcome", OUTCOME_SCRIPT, _outcome),
        Story("outcome that waits", WAITING_SCRIPT, _waiting_outcome, has_check_runs=True),
        Story("remit", OUTCOME_SCRIPT, _remit),
        Story("remit that cheats", CHEAT_SCRIPT, _cheat),
        Story("remit without money", SPENDTHRIFT_SCRIPT, _dear_remit),
        Story("remit raised", RAISED_SCRIPT, _raised_remit),
        Story("remit in an outage", OUTAGE_SCRIPT, _remit),
        Story("interrupted", INTERRUPTED_SCRIPT, _interrupted),
        Story("budget raised", BUDGET_SCRIPT, _budget),
        Story("put away", TOOLS_SCRIPT, _put_away),
        Story("compacted", COMPACTED_SCRIPT, _compacted),
        Story("deployment", TOOLS_SCRIPT, _deployment),
        Story("deployment that fails", TOOLS_SCRIPT, _failing_deployment),
        Story("gateway", {"default": {"text": "An answer."}}, _direct),
    )
}
