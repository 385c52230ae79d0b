"""The same story as plain lines, for a terminal that is none: one line for what a person would want to know."""

from __future__ import annotations

from remit import wording
from remit.cli.view import VerdictView, pause_line, sandbox_lost_text, verdicts_of
from remit.schema.tool_kinds import RESULT_TYPES, USE_TYPES

LINE_CELLS_MAX = 400
"""Of a line that says what to do."""


def remit_lines(event: wording.Json) -> list[str]:
    """Return the lines for an event of the remit's stream, if there are any."""
    match event.get("type"):
        case "remit.setup_ended":
            lines = [f"setup: {wording.printable(str(note))}" for note in wording.as_list(event.get("notes"))]
            if event.get("command"):
                lines.insert(0, f"setup ran: {wording.printable(str(event['command']))}")
            return lines
        case "remit.initial_verification_started":
            return ["running the verifiers on the input …"]
        case "remit.initial_verification_ended":
            lines = [
                _verdict_line("before", verdict.verifier, verdict.passed) for verdict in _verdicts(event)
            ]
            vacuous = [verdict.verifier for verdict in _verdicts(event) if verdict.passed]
            return lines + [f"vacuous: {text} passes already and will prove nothing" for text in vacuous]
        case "remit.working":
            return ["working"]
        case "remit.iteration_ended":
            number = int(event.get("iteration") or 0) + 1
            lines = [
                _verdict_line(f"iteration {number}", verdict.verifier, verdict.passed, verdict.summary)
                for verdict in _verdicts(event)
            ]
            return lines + [
                f"tampered: {wording.printable_name(str(path))}"
                for path in wording.as_list(event.get("tampered"))
            ]
        case "remit.interrupted":
            return ["interrupted"]
        case "remit.resumed":
            return ["resumed"]
        case "remit.paused":
            return [wording.short(f"paused: {pause_line(event)}", LINE_CELLS_MAX)]
        case "remit.reopened":
            return [f"reopened with a budget of {wording.money(wording.as_object(event.get('budget')))}"]
        case "remit.declined":
            return ["declined"]
        case _:
            return []


def session_lines(event: wording.Json) -> list[str]:
    """Return the lines for an event of a working session's stream, if there are any."""
    match event.get("type"):
        case "agent.message":
            text = wording.one_line(wording.printable(wording.message_text(event.get("content"))))
            return [wording.short(f"says: {text}")] if text else []
        case type if type in USE_TYPES:
            text = wording.printable(wording.tool_input(event.get("input")))
            return [wording.short(f"{event.get('name')}: {text}")]
        case type if type in RESULT_TYPES and event.get("may_have_run"):
            return ["the last tool use may have run: its answer is not known"]
        case "session.packages_installing":
            packages = wording.printable(wording.packages_text(event.get("packages")))
            return [wording.short(f"installing packages, which may take a minute: {packages}")]
        case "session.sandbox_lost":
            return [f"sandbox {sandbox_lost_text(event)}"]
        case "session.credentials_used":
            credentials = wording.printable(wording.credentials_text(event.get("credentials")))
            return [wording.short(f"credentials used: {credentials}")]
        case "session.memory_not_kept":
            files = wording.printable(wording.memory_not_kept_text(event))
            return [wording.short(f"not kept as memories: {files}")]
        case "session.error":
            error = wording.as_object(event.get("error"))
            return [wording.short(f"error: {wording.one_line(wording.printable(str(error.get('message'))))}")]
        case _:
            return []


def _verdicts(event: wording.Json) -> tuple[VerdictView, ...]:
    return verdicts_of(event.get("verdicts"))


def _verdict_line(when: str, verifier: str, passed: bool, summary: str = "") -> str:
    line = f"{when}: {'passed' if passed else 'failed'}: {verifier}"
    return f"{line} ({summary})" if summary else line
