"""A receipt as a readable page of text: every call with its hold and settlement, tools, verifications, accounts."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.client.evidence import work_sentence

_STATE_STYLES = {"settled": "", "assumed": "yellow", "open": "cyan"}


def receipt_text(receipt: wording.Json) -> RenderableType:
    """The whole receipt."""
    parts: list[RenderableType] = [_summary(receipt), Text()]
    calls = wording.as_list(receipt.get("calls"))
    if calls:
        parts += [Text("model calls", style="bold"), _calls(receipt), Text()]
    if wording.as_list(receipt.get("tools")):
        parts += [Text("tools", style="bold"), _tools(receipt), Text()]
    if wording.as_list(receipt.get("verifications")):
        parts += [Text("verifications", style="bold"), _verifications(receipt), Text()]
    if wording.as_list(receipt.get("accounts")):
        parts += [Text("accounts", style="bold"), _accounts(receipt)]
    return Group(*parts)


def tools_by_name(receipt: wording.Json) -> list[tuple[str, int, float, int, int]]:
    """Sum up the tools by name: uses, seconds, errors, uses that may have run."""
    found: dict[str, list[wording.Json]] = {}
    for tool in map(wording.as_object, wording.as_list(receipt.get("tools"))):
        found.setdefault(str(tool.get("name")), []).append(tool)
    return [
        (
            name,
            len(uses),
            sum(float(use.get("duration_seconds") or 0) for use in uses),
            sum(1 for use in uses if use.get("is_error")),
            sum(1 for use in uses if use.get("may_have_run")),
        )
        for name, uses in sorted(found.items())
    ]


def amount_text(amount: object) -> str:
    """A hold or settlement in both units: dollars and tokens."""
    fields = wording.as_object(amount)
    parts = [wording.nano_usd(fields["nano_usd"])] if fields.get("nano_usd") is not None else []
    if fields.get("tokens") is not None:
        parts.append(f"{wording.count(fields['tokens'])} tok")
    return " ".join(parts) or "–"


def rests_on_rows(receipt: wording.Json) -> list[tuple[str, str]]:
    """The agent's files that the verdicts rest on, where there are any."""
    paths = [wording.printable_name(str(path)) for path in wording.as_list(receipt.get("rests_on_work"))]
    return [("rests on", work_sentence(paths))] if paths else []


def isolation_text(receipt: wording.Json) -> str:
    """Describe the walls that the sandboxes held against code inside, and those that they did not."""
    found: dict[str, None] = {}
    for sandbox in map(wording.as_object, wording.as_list(receipt.get("sandboxes"))):
        not_held = ", ".join(str(wall) for wall in wording.as_list(sandbox.get("not_held")))
        text = f"{sandbox.get('isolation')} ({sandbox.get('provider')})"
        found[f"{text}, without {not_held}" if not_held else text] = None
    return "; ".join(found) or "none was needed"


def _summary(receipt: wording.Json) -> RenderableType:
    agent = wording.as_object(receipt.get("agent"))
    harness = wording.as_object(agent.get("harness"))
    spent, budget = wording.as_object(receipt.get("spent")), wording.as_object(receipt.get("budget"))
    yes_no = {True: "yes", False: "no"}
    pairs = [
        ("receipt of", str(receipt.get("remit_id"))),
        ("status", wording.status_text(str(receipt.get("status")))),
        ("completed", yes_no[receipt.get("completed") is True]),
        ("verified", yes_no[receipt.get("verified") is True]),
        *rests_on_rows(receipt),
        ("agent", f"{agent.get('model')} in {harness.get('name')} {harness.get('version')}"),
        ("image", str(receipt.get("image_digest") or "none was needed")),
        ("isolation", isolation_text(receipt)),
        ("budget", wording.money(budget)),
        ("spent", f"{wording.exact_usd(spent.get('usd'))} and {wording.count(spent.get('tokens'))} tokens"),
    ]
    held = wording.as_object(receipt.get("held"))
    if wording.decimal_is_positive(held.get("usd")) or wording.decimal_is_positive(held.get("tokens")):
        pairs.append(
            ("held", f"{wording.exact_usd(held.get('usd'))} and {wording.count(held.get('tokens'))} tokens")
        )
    pairs += paused_rows(receipt)
    for model, price in wording.as_object(receipt.get("prices")).items():
        pairs.append((f"price of {model}", f"from {wording.as_object(price).get('source')}"))
    return render.rows(pairs)


def paused_rows(receipt: wording.Json) -> list[tuple[str, str]]:
    """Return the rows about pauses: how often, for how long, and why; none where there was no pause."""
    pauses = [wording.as_object(pause) for pause in wording.as_list(receipt.get("pauses"))]
    if not pauses:
        return []
    times = [wording.duration_between(pause.get("at"), pause.get("until")) for pause in pauses]
    reasons = ", ".join(dict.fromkeys(wording.printable(str(pause.get("reason"))) for pause in pauses))
    now = ", and it is now" if times[-1] is None else ""
    took = wording.seconds(sum(time for time in times if time is not None))
    return [("paused", f"{wording.counted(len(pauses), 'time')}, {took} in all ({reasons}){now}")]


def _table(*columns: tuple[str, bool]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    return table


def _calls(receipt: wording.Json) -> RenderableType:
    table = _table(
        ("", True),
        ("model", False),
        ("held", True),
        ("settled", True),
        ("tokens", True),
        ("state", False),
        ("time", True),
    )
    for position, call in enumerate(map(wording.as_object, wording.as_list(receipt.get("calls"))), start=1):
        state = str(call.get("state"))
        took = wording.duration_between(call.get("started_at"), call.get("ended_at"))
        reason = f" ({call['error_reason']})" if call.get("error_reason") else ""
        purpose = "" if call.get("purpose") == "work" else f" ({call.get('purpose')})"
        table.add_row(
            str(position),
            Text(f"{call.get('served_model') or call.get('model') or call.get('tool')}{purpose}"),
            _binding(call.get("held"), receipt),
            _binding(call.get("settled"), receipt),
            wording.count(wording.as_object(call.get("settled")).get("tokens")),
            Text(f"{state}{reason}", style=_STATE_STYLES.get(state, "red")),
            "" if took is None else wording.seconds(took),
        )
    return table


def _binding(amount: object, receipt: wording.Json) -> str:
    """An amount in the unit of the budget: dollars where it has dollars, else tokens."""
    unit = "nano_usd" if wording.as_object(receipt.get("budget")).get("usd") is not None else "tokens"
    return amount_text({unit: wording.as_object(amount).get(unit)})


def _tools(receipt: wording.Json) -> RenderableType:
    table = _table(("tool", False), ("uses", True), ("time", True), ("", False))
    for name, uses, seconds, errors, unknown in tools_by_name(receipt):
        notes = [wording.counted(errors, "error")] if errors else []
        if unknown:
            notes.append(f"{unknown} may have run")
        table.add_row(Text(name), str(uses), wording.seconds(seconds), Text(", ".join(notes), style="yellow"))
    return table


def _verifications(receipt: wording.Json) -> RenderableType:
    table = _table(("iteration", True), ("verifier", False), ("", False), ("time", True))
    for entry in map(wording.as_object, wording.as_list(receipt.get("verifications"))):
        for verdict in render.verdicts_of(entry.get("verdicts")):
            took = verdict.duration_seconds
            answer = Text("passed", style="green") if verdict.passed else Text("failed", style="red")
            table.add_row(
                "input" if entry.get("iteration") is None else str(int(entry["iteration"]) + 1),
                Text(verdict.verifier),
                answer,
                "" if took is None else wording.seconds(took),
            )
    return table


def _accounts(receipt: wording.Json) -> RenderableType:
    table = _table(
        ("stream", False),
        ("for", False),
        ("cap", True),
        ("spent", True),
        ("held", True),
        ("granted", True),
        ("", False),
    )
    for account in map(wording.as_object, wording.as_list(receipt.get("accounts"))):
        if not any(account.get(name) for name in ("cap", "spent", "held", "granted", "stopped")):
            continue  # opened for every unit and purpose; what was never used says nothing
        show = wording.nano_usd if account.get("unit") == "nano_usd" else wording.tokens
        table.add_row(
            wording.short_stream(str(account.get("stream_id"))),
            str(account.get("purpose")),
            "none" if account.get("cap") is None else show(account["cap"]),
            show(account.get("spent")),
            show(account.get("held")),
            show(account.get("granted")),
            Text("stopped", style="yellow") if account.get("stopped") else "",
        )
    return table
