"""A session's transcript: each event as an entry of its own, so that a page can be made and kept up to date alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from remit.client.html import Child, Markup, join, tag
from remit.schema.tool_kinds import CONFIRMATION, RESULT_TYPES, USE_TYPES, answered_use
from remit.wording import (
    Json,
    as_list,
    as_object,
    credentials_text,
    cut,
    headline,
    memory_not_kept_text,
    message_text,
    moment,
    packages_text,
    pretty,
    short,
    tool_input,
)

RESULTS = RESULT_TYPES | {"user.tool_result"}
"""Of a sandbox that is not ours too."""
IDLE_NOTES = {
    "budget_reached": "The budget is reached: no further call is made.",
    "retries_exhausted": "It gave up after several attempts.",
    "requires_action": "It waits for a decision.",
    "refusal": "The model refused.",
}


@dataclass(frozen=True, kw_only=True)
class Patch:
    """An element of the page as it is now: it replaces the one with this id, or goes to the end of `into`."""

    id: str
    html: Markup
    into: str | None = None


def transcript_id(session_id: str) -> str:
    """The element that holds a session's entries."""
    return f"transcript-{session_id}"


def entries(session_id: str, events: Iterable[Json]) -> Markup:
    """Show all entries in order, results within their uses."""
    kept = list(events)
    results = {answered_use(event): event for event in kept if event.get("type") in RESULTS}
    found = [_entry(event, results) for event in kept]
    return tag("ol", *found, id=transcript_id(session_id), class_="transcript")


def patch_of(session_id: str, event: Json) -> Patch | None:
    """Return the change that a new event makes to the transcript."""
    if event.get("type") in RESULTS:
        use_id = answered_use(event)
        return Patch(id=f"result-{use_id}", html=_result(use_id, event), into=transcript_id(session_id))
    html = _entry(event, {})
    return None if html is None else Patch(id=_id(event), html=html, into=transcript_id(session_id))


def _entry(event: Json, results: Mapping[str, Json]) -> Markup | None:
    match event.get("type"):
        case "user.message" | "system.message":
            who = "system" if event["type"] == "system.message" else "user"
            return _speech(event, who, message_text(event.get("content")))
        case "user.define_outcome":
            return _speech(event, "outcome", str(event.get("description") or ""))
        case "agent.message":
            return _speech(event, "agent", message_text(event.get("content")))
        case "agent.thinking":
            text = message_text(event.get("content"))
            return _folded(event, "thinking", text) if text.strip() else None
        case kind if kind in USE_TYPES:
            return _use(event, results.get(str(event.get("id"))))
        case "user.interrupt":
            return _note(event, "Interrupted by a person.", "warn")
        case kind if kind == CONFIRMATION:
            word = "allowed" if event.get("result") == "allow" else "denied"
            return _note(event, f"A tool use was {word}. {event.get('deny_message') or ''}".rstrip(), "")
        case "session.error":
            error = as_object(event.get("error"))
            return _note(event, f"Error: {error.get('message') or error.get('type')}", "bad")
        case "session.packages_installing":
            packages = packages_text(event.get("packages"))
            return _note(
                event, f"Installing the environment's packages, which may take a minute: {packages}.", ""
            )
        case "session.sandbox_lost":
            return _sandbox_lost(event)
        case "session.memory_not_kept":
            return _note(event, f"Not kept as memories: {headline(memory_not_kept_text(event))}.", "warn")
        case "session.credentials_used":
            return _note(
                event, f"Requests carried credentials: {credentials_text(event.get('credentials'))}.", ""
            )
        case "session.status_idle":
            reason = str(as_object(event.get("stop_reason")).get("type"))
            return _note(event, IDLE_NOTES[reason], "warn") if reason in IDLE_NOTES else None
        case "session.status_terminated":
            return _note(event, "The session is over.", "")
        case "agent.thread_context_compacted":
            return _note(event, "Older messages were summed up to make room.", "")
        case "span.outcome_evaluation_end":
            return _evaluation(event)
        case _:
            return None


def _speech(event: Json, who: str, text: str) -> Markup:
    state = "queued" if event.get("processed_at") is None else None
    return _item(
        event,
        f"speech {who}",
        tag(
            "div",
            tag("b", who),
            _time(event),
            tag("span", state, class_="dim") if state else None,
            class_="who",
        ),
        tag("div", cut(text), class_="text"),
    )


def _folded(event: Json, title: str, text: str) -> Markup:
    details = tag(
        "details",
        tag("summary", tag("span", title, class_="dim"), " ", tag("span", headline(text), class_="line dim")),
        tag("pre", cut(text)),
        id=f"fold-{event.get('id')}",
    )
    return _item(event, "thinking", details)


def _use(event: Json, result: Json | None) -> Markup:
    use_id = str(event.get("id"))
    details = tag(
        "details",
        tag(
            "summary",
            tag("b", str(event.get("name"))),
            " ",
            tag("span", short(tool_input(event.get("input"))), class_="line"),
        ),
        tag("pre", cut(pretty(event.get("input"))), class_="input"),
        id=f"fold-{use_id}",
    )
    return _item(event, "use", details, _result(use_id, result))


def _result(use_id: str, event: Json | None) -> Markup:
    """The answer to a tool use, or the place where it will stand."""
    slot = f"result-{use_id}"
    if event is None:
        return tag("div", tag("span", "no answer yet", class_="dim"), id=slot, class_="result open")
    text = message_text(event.get("content"))
    mark, style = ("failed", "bad") if event.get("is_error") else ("done", "good")
    if event.get("may_have_run"):
        mark, style = "may have run", "warn"
    return tag(
        "div",
        tag(
            "details",
            tag(
                "summary",
                tag("span", mark, class_=f"mark {style}"),
                " ",
                tag("span", headline(text), class_="line dim"),
            ),
            tag("pre", cut(text)),
            id=f"fold-result-{use_id}",
        ),
        id=slot,
        class_="result",
    )


def _sandbox_lost(event: Json) -> Markup:
    restored = as_object(event.get("restored_from"))
    lost = as_object(event.get("lost"))
    what = [name for name in ("shell", "processes") if lost.get(name)]
    uses = len(as_list(lost.get("tool_use_ids")))
    if uses:
        what.append(
            f"{uses} tool uses since the last snapshot" if uses > 1 else "1 tool use since the last snapshot"
        )
    what += [str(as_object(one).get("path")) for one in as_list(lost.get("left_out"))]
    since = f"from {moment(restored.get('taken_at'))}" if restored.get("taken_at") else "from a snapshot"
    survived = f"Files were restored {since}." if restored else "It begins again from the input."
    gone = f" Gone: {', '.join(what)}." if what else ""
    return _note(
        event,
        f"The sandbox was lost ({headline(str(event.get('reason') or 'lost'))}). {survived}{gone}",
        "warn",
    )


def _evaluation(event: Json) -> Markup:
    result = str(event.get("result") or "")
    style = {"satisfied": "good", "failed": "bad"}.get(result, "warn")
    explanation = str(event.get("explanation") or "")
    return _item(
        event,
        "evaluation",
        tag(
            "div",
            tag(
                "span",
                f"Evaluation {int(event.get('iteration') or 0) + 1}: {result.replace('_', ' ')}",
                class_=f"mark {style}",
            ),
            _time(event),
            class_="who",
        ),
        tag("pre", cut(explanation)) if explanation else None,
    )


def _note(event: Json, text: str, style: str) -> Markup:
    return _item(event, f"note {style}".strip(), tag("span", text), _time(event))


def _item(event: Json, style: str, *children: Child) -> Markup:
    return tag("li", join(children), id=_id(event), class_=f"entry {style}")


def _id(event: Json) -> str:
    return f"event-{event.get('id')}"


def _time(event: Json) -> Markup | None:
    at = event.get("processed_at")
    return None if at is None else tag("time", moment(at)[11:19], datetime=str(at), title=moment(at))
