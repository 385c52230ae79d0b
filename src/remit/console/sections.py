"""The parts of a page that change as a whole: status, money, verifiers, what waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from remit.client.consent import reason_lines, reasons_beside_cost
from remit.client.evidence import verdict_sentences, work_sentence
from remit.client.html import Markup, join, tag
from remit.schema.tool_kinds import BY_USE
from remit.wording import (
    NANO,
    Json,
    as_list,
    as_object,
    count,
    cut,
    decimal_of,
    headline,
    moment,
    pretty,
    printable,
    seconds,
    short,
    status_text,
    tokens,
    tool_input,
    usd,
    verifier_text,
)

GOOD = frozenset({"satisfied", "idle"})
BAD = frozenset({"unsatisfied", "budget_reached", "stopped", "terminated"})
ACTIVE = frozenset({"working", "verifying_input", "running", "rescheduling"})
BAR_UNITS = 1000


def badge(status: str) -> Markup:
    """A status in its colour."""
    style = "good" if status in GOOD else "bad" if status in BAD else "active" if status in ACTIVE else "warn"
    return tag("span", status_text(status), class_=f"badge {style}")


def section(id: str, title: str, *content: Markup | None) -> Markup:
    """A card; without content it is there and hidden, so that it can be filled later."""
    shown = [one for one in content if one is not None]
    if not shown:
        return tag("section", id=id, hidden=True)
    return tag("section", tag("h2", title), *shown, id=id, class_="card")


def facts(pairs: Sequence[tuple[str, str | Markup | None]]) -> Markup:
    """Names and values, those that there are."""
    return tag("dl", *[join([tag("dt", name), tag("dd", value)]) for name, value in pairs if value])


# ---------------------------------------------------------------------------------------------- remits


def remit_status(remit: Json) -> Markup:
    """Show the status of a remit: completed and verified are two facts."""
    agent, ended = as_object(remit.get("agent")), remit.get("ended_at")
    harness = as_object(agent.get("harness"))
    model = agent.get("model") or remit.get("model")
    pairs: list[tuple[str, str | Markup | None]] = [
        ("status", badge(str(remit.get("status")))),
        ("completed", _yes_no(remit.get("completed")) if ended else None),
        ("verified", _yes_no(remit.get("verified")) if ended else None),
        ("model", str(model) if model else None),
        ("harness", f"{harness['name']} {harness.get('version')}" if harness.get("name") else None),
        ("began", moment(remit.get("created_at"))),
        ("ended", moment(ended) if ended else None),
        ("goes on", moment(remit["wake_at"]) if remit.get("wake_at") else None),
    ]
    explanation = str(remit.get("explanation") or "")
    note = tag("p", explanation, class_="dim") if explanation else None
    return section("status", "Status", facts(pairs), note)


def remit_money(remit: Json) -> Markup:
    """Spent and held against the cap, in every unit that has one."""
    spent, held, cap = (as_object(remit.get(name)) for name in ("spent", "held", "cap"))
    bars: list[Markup] = []
    for unit in ("usd", "tokens"):
        amounts = [decimal_of(each.get(unit)) for each in (spent, held, cap)]
        if amounts[2] is not None or (amounts[0] or 0) > 0:
            bars.append(_bar(unit, amounts[0], amounts[1], amounts[2]))
    return section("money", "Spend", *bars)


def remit_verifiers(remit: Json) -> Markup:
    """Each verifier with its last verdict, and what was found on the way."""
    iterations = [as_object(one) for one in as_list(remit.get("iterations"))]
    last = as_list(iterations[-1].get("verdicts")) if iterations else []
    vacuous = {str(one) for one in as_list(remit.get("vacuous"))}
    rows: list[Markup] = []
    for position, verifier in enumerate(as_list(remit.get("verifiers"))):
        verdict = as_object(last[position]) if position < len(last) else None
        rows.append(_verifier(position, verifier, verdict, is_vacuous=verifier_text(verifier) in vacuous))
    count_text = f"after iteration {len(iterations)}" if iterations else "not run on a result yet"
    notes = [
        tag("p", f"tampered: {path} was protected and was changed", class_="bad")
        for path in as_list(remit.get("tampered"))
    ]
    notes += [
        tag("p", f"added: {path} was left out of the verification", class_="warn")
        for path in as_list(remit.get("added"))
    ]
    if work := [str(path) for path in as_list(remit.get("rests_on_work"))]:
        notes.append(tag("p", work_sentence(work)))
    notes += [tag("p", f"result: {printable(str(note))}") for note in as_list(remit.get("result_notes"))]
    return section(
        "verifiers", "Verifiers", tag("p", count_text, class_="dim"), tag("ul", *rows, class_="plain"), *notes
    )


def remit_waiting(remit: Json) -> Sequence[Markup]:
    """The consent that a remit waits for, or what people must mend before it goes on."""
    if remit.get("status") == "paused" and remit.get("wake_at") is None:
        return (tag("li", tag("b", "paused"), " ", str(remit.get("explanation") or "")),)
    if remit.get("status") != "awaiting_consent":
        return ()
    forecast = as_object(remit.get("forecast"))
    likely = as_object(forecast.get("usd"))
    text = "The forecast waits for consent; nothing has been spent."
    cap = as_object(remit.get("cap"))
    if likely.get("likely") is not None:
        text += f" It will likely cost {usd(likely['likely'])}"
        text += f", and never more than {usd(cap['usd'])}." if cap.get("usd") is not None else "."
    reasons = reasons_beside_cost(remit)
    shown = tag("pre", "\n".join(reason_lines(remit, reasons))) if reasons else None
    return (tag("li", tag("b", "consent"), " ", text, shown),)


def _verifier(position: int, verifier: object, verdict: Json | None, *, is_vacuous: bool) -> Markup:
    word, style = "pending", "dim"
    if verdict is not None:
        word, style = ("passed", "good") if verdict.get("passed") is True else ("failed", "bad")
    head = join(
        [
            tag("span", word, class_=f"mark {style}"),
            " ",
            tag("code", short(verifier_text(verifier))),
            tag("span", " vacuous: it passed before any work", class_="warn") if is_vacuous else None,
        ]
    )
    if verdict is None:
        return tag("li", head)
    took = verdict.get("duration_seconds")
    line = " · ".join(
        part
        for part in (headline(str(verdict.get("summary") or "")), seconds(took) if took is not None else "")
        if part
    )
    output = str(verdict.get("output") or "")
    rests_on = [tag("div", sentence, class_="dim small") for sentence in verdict_sentences(verdict)]
    return tag(
        "li",
        tag(
            "details",
            tag("summary", head, tag("div", line, class_="dim small") if line else None),
            *rests_on,
            tag("pre", cut(output) if output.strip() else "no output"),
            id=f"fold-verifier-{position}",
        ),
    )


# -------------------------------------------------------------------------------------------- sessions


def session_status(session: Json, *, is_waiting: bool) -> Markup:
    """Show the status of a session; an idle one may wait for somebody."""
    status = "waiting for a decision" if is_waiting else str(session.get("status"))
    agent, usage = as_object(session.get("agent")), as_object(session.get("usage"))
    model = as_object(agent.get("model")).get("id") or agent.get("model")
    pairs: list[tuple[str, str | Markup | None]] = [
        ("status", badge(status)),
        ("agent", str(agent["name"]) if agent.get("name") else None),
        ("model", str(model) if model else None),
        ("tokens", f"{count(usage.get('input_tokens'))} in, {count(usage.get('output_tokens'))} out"),
        ("active", seconds(as_object(session.get("stats")).get("active_seconds"))),
        ("began", moment(session.get("created_at"))),
        ("archived", moment(session["archived_at"]) if session.get("archived_at") else None),
    ]
    return section("status", "Status", facts(pairs))


def session_money(accounts: Sequence[Json]) -> Markup:
    """The session's accounts, work and verification together."""
    bars: list[Markup] = []
    for unit, shown, scale in (("nano_usd", "usd", NANO), ("tokens", "tokens", Decimal(1))):
        ours = [account for account in accounts if account.get("unit") == unit]
        caps = [decimal_of(account.get("cap")) for account in ours]
        spent, held = (
            sum((decimal_of(account.get(name)) or Decimal(0) for account in ours), Decimal(0)) / scale
            for name in ("spent", "held")
        )
        is_capped = bool(caps) and None not in caps
        cap = sum((one for one in caps if one is not None), Decimal(0)) / scale if is_capped else None
        if ours and (cap is not None or spent > 0 or held > 0):
            bars.append(_bar(shown, spent, held, cap))
    return section("money", "Spend", *bars)


def session_outcome(session: Json) -> Markup:
    """Show the verdicts on a session's outcomes."""
    rows = [
        tag(
            "li",
            badge(str(one.get("result") or "pending")),
            " ",
            headline(str(one.get("description") or "")),
            tag("div", headline(str(one["explanation"])), class_="dim small")
            if one.get("explanation")
            else None,
        )
        for one in map(as_object, as_list(session.get("outcome_evaluations")))
    ]
    return section("outcomes", "Outcomes", tag("ul", *rows, class_="plain") if rows else None)


def session_waiting(uses: Sequence[Json]) -> Sequence[Markup]:
    """Tool uses that wait for a person or a program."""
    return [
        tag(
            "li",
            tag("b", "result" if BY_USE[str(use.get("type"))].is_client else "permission"),
            f" for {use.get('name')}: {short(tool_input(use.get('input')))}",
            tag(
                "details",
                tag("summary", "input"),
                tag("pre", cut(pretty(use.get("input")))),
                id=f"fold-wait-{use.get('id')}",
            ),
        )
        for use in uses
    ]


def waiting(items: Sequence[Markup]) -> Markup:
    """List everything that waits for somebody; read-only here."""
    shown = tag("ul", *items, class_="plain") if items else None
    return section("waiting", "Waiting for a decision", shown)


def _bar(unit: str, spent: Decimal | None, held: Decimal | None, cap: Decimal | None) -> Markup:
    show = usd if unit == "usd" else tokens
    spent, held = spent or Decimal(0), held or Decimal(0)
    label = tag(
        "div",
        tag("b", show(spent)),
        " spent",
        tag("span", " · ", tag("b", show(held), class_="warn"), " held") if held else None,
        tag("span", f" of {show(cap)}" if cap is not None else ", no cap", class_="dim"),
        class_="amounts",
    )
    if not cap:
        return label
    first = _share(spent, cap)
    second = min(_share(held, cap), BAR_UNITS - first)
    bar = tag(
        "svg",
        tag("rect", class_="spent", width=first, height=8),
        tag("rect", class_="held", x=first, width=second, height=8),
        viewBox=f"0 0 {BAR_UNITS} 8",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{show(spent)} spent, {show(held)} held, of {show(cap)}",
        class_="bar",
    )
    return join([label, bar])


def _share(part: Decimal, whole: Decimal) -> int:
    """Thousandths of the whole; what is there is never drawn as nothing."""
    if part <= 0:
        return 0
    return max(1, min(BAR_UNITS, int(part * BAR_UNITS / whole)))


def _yes_no(value: object) -> Markup:
    return tag("span", "yes" if value is True else "no", class_="good" if value is True else "bad")
