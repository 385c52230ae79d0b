"""Drawing of a remit: at work, its forecast, its end. Pure: values in, rich text out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from remit import wording
from remit.cli.view import ProgressStep, RemitProgress, VerdictView, verdicts_of
from remit.client.consent import OUTPUT_LINES_SHOWN, last_lines
from remit.client.evidence import PATHS_SHOWN

STEPS_SHOWN = 8
BAR_CELLS = 28
_NAME_CELLS = 9
_LABEL_CELLS = 10
_DASH = "–"

_STATE_STYLES = {"running": "cyan", "done": "dim", "failed": "red", "unknown": "yellow"}
_STATE_MARKS = {"running": "›", "done": "·", "failed": "✗", "unknown": "?"}


def live(view: RemitProgress, *, now: datetime) -> RenderableType:
    """The one live picture: status, last steps, verdicts, money."""
    parts: list[RenderableType] = [
        _head(view, now),
        Text(wording.one_line(view.outcome), style="bold"),
        Text(),
    ]
    if view.status == "paused":
        parts += [Text(view.explanation, style="yellow"), Text()]
    steps = view.steps[-STEPS_SHOWN:]
    parts.extend(_step(step, now) for step in steps)
    if view.is_thinking:
        parts.append(_line("›", "model", "thinking …", "cyan"))
    if steps or view.is_thinking:
        parts.append(Text())
    if view.verdicts:
        parts.extend(_verdict(verdict) for verdict in view.verdicts)
    else:
        parts.extend(_before(verdict) for verdict in view.initial)
    if view.verdicts or view.initial:
        parts.append(Text())
    parts.append(_money_line(view))
    return Group(*parts)


def forecast(remit: wording.Json, *, folder: str | None, input_notes: Sequence[str]) -> RenderableType:
    """Draw the forecast: what is about to be done, and what it may cost."""
    forecast = wording.as_object(remit.get("forecast"))
    agent = wording.as_object(remit.get("agent"))
    grid = _grid()
    grid.add_row("outcome", Text(wording.printable(str(remit.get("outcome", "")))))
    if folder is not None:
        grid.add_row("input", Text(folder))
        for note in input_notes:
            grid.add_row("", Text(note, style="dim"))
    grid.add_row("agent", Text(_agent_text(agent)))
    for number, verifier in enumerate(wording.as_list(remit.get("verifiers"))):
        grid.add_row(
            "verified by" if number == 0 else "", Text(wording.printable(wording.verifier_text(verifier)))
        )
    protected = _protected(remit)
    if protected:
        grid.add_row("protected", Text(protected))
    if rewrites := _paths(forecast.get("rewrites")):
        grid.add_row("rewritten", Text(f"{rewrites}, by the verifiers themselves: put back after each run"))
    if proposed := _globs(forecast.get("proposed_work")):
        grid.add_row("work", Text(f"not named; it could be: {proposed}", style="dim"))
    grid.add_row(
        "budget", Text(f"{wording.money(wording.as_object(remit.get('budget')))}, never more", style="bold")
    )
    grid.add_row("forecast", Text(_forecast_text(forecast)))
    if forecast.get("basis"):
        grid.add_row("", Text(wording.printable(wording.one_line(str(forecast["basis"]))), style="dim"))
    for note in wording.as_list(forecast.get("notes")):
        grid.add_row("", Text(wording.printable(str(note)), style="dim"))
    return grid


def ending(remit: wording.Json, receipt: wording.Json) -> RenderableType:
    """Draw the end of a remit: completed and verified as two facts, the evidence, and the cost."""
    parts: list[RenderableType] = [_facts(remit), Text()]
    verdicts = last_verdicts(remit)
    vacuous = {wording.printable_name(str(entry)) for entry in wording.as_list(remit.get("vacuous"))}
    for verdict in verdicts:
        parts.append(_verdict(verdict, is_vacuous=verdict.verifier in vacuous))
        parts.extend(Text(f"    {sentence}", style="dim") for sentence in verdict.rests_on)
        if not verdict.passed and verdict.output.strip():
            parts.append(Padding(Text(tail(verdict.output), style="dim"), (0, 0, 0, 4)))
    parts.extend(_remarks(remit))
    if verdicts:
        parts.append(Text())
    parts.append(_cost(remit, receipt))
    return Group(*parts)


def last_verdicts(remit: wording.Json) -> tuple[VerdictView, ...]:
    """The verdicts of the last evaluation."""
    iterations = wording.as_list(remit.get("iterations"))
    return verdicts_of(iterations[-1].get("verdicts")) if iterations else ()


def tail(output: str) -> str:
    """The last lines of an output: that is where programs say what went wrong."""
    left_out = len(output.strip("\n").splitlines()) - OUTPUT_LINES_SHOWN
    shown = last_lines(output)
    return "\n".join(([f"… {wording.counted(left_out, 'line')} above"] if left_out > 0 else []) + shown)


def _head(view: RemitProgress, now: datetime) -> RenderableType:
    text = Text.assemble((wording.status_text(view.status), "bold cyan" if not view.is_ended else "bold"))
    if view.status == "working" and view.max_iterations:
        number = min(view.iterations + 1, view.max_iterations)
        text.append(f", iteration {number} of {view.max_iterations}", style="cyan")
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(text, Text(f"{view.model or ''}  {_elapsed(view.created_at, now)}".strip(), style="dim"))
    return grid


def _step(step: ProgressStep, now: datetime) -> RenderableType:
    style = _STATE_STYLES[step.state] if step.name != "says" else ""
    took = wording.duration_between(step.started_at, step.ended_at)
    if step.state == "running" and step.started_at is not None:
        took = max(0.0, (now - _time(step.started_at)).total_seconds())
    note = "may have run" if step.state == "unknown" and step.name != "sandbox" else ""
    if took is not None and took >= 1:
        note = f"{note} {wording.seconds(took)}".strip()
    return _line(_STATE_MARKS[step.state], step.name, step.text, style, note)


def _line(mark: str, name: str, text: str, style: str, note: str = "") -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(width=_NAME_CELLS, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(
        Text(mark, style=style), Text(name, style=style), Text(text, style=style), Text(note, style="dim")
    )
    return grid


def _verdict(verdict: VerdictView, *, is_vacuous: bool = False) -> RenderableType:
    mark, style = ("✓", "green") if verdict.passed else ("✗", "red")
    text = Text.assemble((f"{mark} ", style), (verdict.verifier, "bold"))
    if verdict.summary:
        text.append(f"  {verdict.summary}", style="dim")
    if is_vacuous:
        text.append("  vacuous: it passed before any work, so it proves nothing", style="yellow")
    return text


def _before(verdict: VerdictView) -> RenderableType:
    """What a verifier said of the input: failing there is as it should be."""
    if verdict.passed:
        return Text(f"✓ {verdict.verifier}  passes before any work: vacuous", style="yellow")
    return Text(f"· {verdict.verifier}  not yet", style="dim")


def _money_line(view: RemitProgress) -> RenderableType:
    """The bar that says how much of the cap is spent and held, in the unit that binds."""
    unit = "usd" if view.cap.get("usd") is not None else "tokens"
    cap = wording.decimal_of(view.cap.get(unit))
    spent = wording.decimal_of(view.spent.get(unit)) or 0
    held = wording.decimal_of(view.held.get(unit)) or 0
    show = wording.usd if unit == "usd" else wording.count
    text = Text("spent ", style="dim")
    text.append(show(spent), style="bold")
    text.append(f"  held {show(held)}  cap {show(cap)}", style="dim")
    if unit == "tokens":
        text.append(" tokens", style="dim")
    elif view.cap.get("tokens") is not None:
        text.append(
            f"  ({wording.count(view.spent.get('tokens'))} of {wording.count(view.cap['tokens'])} tokens)",
            style="dim",
        )
    if not cap:
        return text
    spent_cells = min(BAR_CELLS, round(float(spent / cap) * BAR_CELLS))
    held_cells = min(BAR_CELLS - spent_cells, round(float(held / cap) * BAR_CELLS))
    bar = Text.assemble(
        ("█" * spent_cells, "green"),
        ("▒" * held_cells, "yellow"),
        ("·" * (BAR_CELLS - spent_cells - held_cells), "dim"),
        "  ",
    )
    return bar + text


def _facts(remit: wording.Json) -> RenderableType:
    grid = _grid()
    completed, verified = remit.get("completed") is True, remit.get("verified") is True
    status = wording.status_text(str(remit.get("status", "")))
    grid.add_row("completed", Text("yes", style="green") if completed else Text("no", style="red"))
    answer = Text("yes", style="bold green") if verified else Text("no", style="bold red")
    explanation = wording.printable(str(remit.get("explanation") or ""))
    if not verified:
        answer.append(f"  {status}", style="")
    if explanation:
        answer.append(f"  {explanation}", style="dim")
    grid.add_row("verified", answer)
    return grid


def _remarks(remit: wording.Json) -> list[RenderableType]:
    tampered = [wording.printable_name(str(path)) for path in wording.as_list(remit.get("tampered"))]
    added = [wording.printable_name(str(path)) for path in wording.as_list(remit.get("added"))]
    return [
        *(Text(f"! tampered: {path} was protected and was changed", style="red") for path in tampered),
        *(Text(f"· added: {path} was left out of the verification", style="yellow") for path in added),
        *(
            Text(f"· result: {wording.printable(str(note))}", style="yellow")
            for note in wording.as_list(remit.get("result_notes"))
        ),
    ]


def _cost(remit: wording.Json, receipt: wording.Json) -> RenderableType:
    grid = _grid()
    spent = wording.as_object(remit.get("spent"))
    budget = wording.as_object(remit.get("budget"))
    calls = wording.as_list(receipt.get("calls"))
    tool_seconds = sum(
        float(tool.get("duration_seconds") or 0) for tool in wording.as_list(receipt.get("tools"))
    )
    took = wording.duration_between(remit.get("created_at"), remit.get("ended_at"))
    parts = [
        f"{_spent_text(spent)} of {wording.money(budget)}",
        wording.counted(len(calls), "model call"),
        f"{wording.seconds(tool_seconds)} of tools",
    ]
    if took is not None:
        parts.append(f"{wording.seconds(took)} in all")
    assumed = sum(1 for call in calls if call.get("state") == "assumed")
    grid.add_row("spent", Text(", ".join(parts)))
    if assumed:
        grid.add_row(
            "",
            Text(f"{wording.counted(assumed, 'call')} of unknown cost, booked at the hold", style="yellow"),
        )
    return grid


def _spent_text(spent: wording.Json) -> str:
    """Dollars where there were any, and tokens always."""
    tokens = f"{wording.count(spent.get('tokens'))} tokens"
    return (
        f"{wording.exact_usd(spent['usd'])} and {tokens}"
        if wording.decimal_is_positive(spent.get("usd"))
        else tokens
    )


def rows(pairs: Sequence[tuple[str, str]]) -> RenderableType:
    """Labels and values, aligned."""
    grid = _grid()
    for label, value in pairs:
        grid.add_row(label, Text(value))
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=_LABEL_CELLS)
    grid.add_column(overflow="fold")
    return grid


def _protected(remit: wording.Json) -> str:
    """Files that may not change: those the server found, else the globs that were asked for."""
    found = wording.as_list(remit.get("protected")) or wording.as_list(remit.get("protect"))
    return _paths([wording.as_object(entry).get("path") or entry for entry in found])


def _paths(found: object) -> str:
    names = [wording.printable_name(str(path)) for path in wording.as_list(found)]
    return wording.listed(names, PATHS_SHOWN)


def _globs(found: object) -> str:
    """As they are typed."""
    return " ".join(f"--work {wording.printable_name(str(glob))!r}" for glob in wording.as_list(found))


def _agent_text(agent: wording.Json) -> str:
    harness = wording.as_object(agent.get("harness"))
    parts = [str(agent.get("model") or _DASH)]
    if harness:
        parts.append(f"in the harness {harness.get('name')} {harness.get('version')}")
    if agent.get("name"):
        parts.append(f"as {agent['name']} v{agent.get('version', 1)}")
    return " ".join(parts)


def _forecast_text(forecast: wording.Json) -> str:
    usd, tokens = wording.as_object(forecast.get("usd")), wording.as_object(forecast.get("tokens"))
    parts: list[str] = []
    if usd.get("likely") is not None and wording.decimal_is_positive(usd.get("high")):
        parts.append(
            f"likely {wording.usd(usd['likely'])}, between {wording.usd(usd.get('low'))} and {wording.usd(usd.get('high'))}"
        )
    if tokens.get("likely") is not None:
        parts.append(f"about {wording.count(tokens['likely'])} tokens")
    return "; ".join(parts) or "none: the price or the size of this is not known"


def _elapsed(created_at: str | None, now: datetime) -> str:
    return wording.clock_seconds((now - _time(created_at)).total_seconds()) if created_at else ""


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
