"""A receipt as one self-contained HTML file: no script, nothing fetched, every value escaped where it is placed."""

from __future__ import annotations

from collections.abc import Sequence

from remit import wording
from remit.cli import render
from remit.cli.receipt import amount_text, isolation_text, paused_rows, rests_on_rows, tools_by_name
from remit.client.html import Markup, document, join, style, tag

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--line:#d9d9de;--dim:#6b6b76;--yes:#17803d;--no:#b42318;--warn:#a15c07;--card:#fafafb}
@media (prefers-color-scheme:dark){:root{--line:#34343b;--dim:#9a9aa5;--yes:#4cc38a;--no:#ff8a7a;--warn:#e7b15c;--card:#1d1d21}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1rem;margin:2.25rem 0 .5rem}
p.outcome{font-size:1.1rem;margin:.25rem 0 1.25rem;white-space:pre-wrap}
.dim,th{color:var(--dim)}.yes{color:var(--yes)}.no{color:var(--no)}.warn{color:var(--warn)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.75rem;margin:1rem 0}
.fact{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .9rem}
.fact b{display:block;font-size:1.15rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:500}td.n,th.n{text-align:right}
code,pre{font:.85em/1.45 ui-monospace,monospace}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem;overflow-x:auto;white-space:pre-wrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.25rem;margin:0}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
"""


def receipt_html(remit: wording.Json, receipt: wording.Json) -> bytes:
    """The page."""
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
            tag("title", f"Receipt of {receipt.get('remit_id')}"),
            style(_STYLE),
        ]
    )
    body = tag(
        "body",
        tag("h1", "Receipt"),
        tag("div", str(receipt.get("remit_id")), class_="dim"),
        tag("p", str(remit.get("outcome") or ""), class_="outcome"),
        _facts(receipt),
        _details(remit, receipt),
        _section("Evidence", _evidence(remit)),
        _section("Model calls", _calls(receipt)),
        _section("Tools", _tools(receipt)),
        _section("Accounts", _accounts(receipt)),
    )
    return document(head, body)


def _facts(receipt: wording.Json) -> Markup:
    spent, budget = wording.as_object(receipt.get("spent")), wording.as_object(receipt.get("budget"))
    return tag(
        "div",
        _fact("completed", *_yes_no(receipt.get("completed"))),
        _fact("verified", *_yes_no(receipt.get("verified"))),
        _fact("spent", wording.exact_usd(spent.get("usd"))),
        _fact("tokens", wording.count(spent.get("tokens"))),
        _fact("budget", wording.money(budget)),
        class_="facts",
    )


def _fact(name: str, value: str, style: str | None = None) -> Markup:
    return tag("div", tag("span", name, class_="dim"), tag("b", value, class_=style), class_="fact")


def _details(remit: wording.Json, receipt: wording.Json) -> Markup:
    agent = wording.as_object(receipt.get("agent"))
    harness = wording.as_object(agent.get("harness"))
    pairs = [
        ("status", wording.status_text(str(receipt.get("status")))),
        *rests_on_rows(receipt),
        *paused_rows(receipt),
        ("agent", f"{agent.get('model')} in {harness.get('name')} {harness.get('version')}"),
        ("image", str(receipt.get("image_digest") or "none was needed")),
        ("isolation", isolation_text(receipt)),
        ("began", str(remit.get("created_at") or "")),
        ("ended", str(remit.get("ended_at") or "not yet")),
    ]
    if remit.get("explanation"):
        pairs.append(("explanation", str(remit["explanation"])))
    for model, price in wording.as_object(receipt.get("prices")).items():
        pairs.append((f"price of {model}", f"from {wording.as_object(price).get('source')}"))
    return tag("dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in pairs))


def _evidence(remit: wording.Json) -> Markup:
    vacuous = {wording.printable(str(entry)) for entry in wording.as_list(remit.get("vacuous"))}
    parts: list[Markup] = []
    for iteration in map(wording.as_object, wording.as_list(remit.get("iterations"))):
        for verdict in render.verdicts_of(iteration.get("verdicts")):
            word, style = ("passed", "yes") if verdict.passed else ("failed", "no")
            number = f"iteration {int(iteration.get('iteration') or 0) + 1}"
            is_vacuous = verdict.verifier in vacuous
            parts.append(
                tag(
                    "p",
                    tag("b", word, class_=style),
                    " ",
                    tag("code", verdict.verifier),
                    " ",
                    tag("span", f"{number}  {verdict.summary}", class_="dim"),
                    tag("span", " vacuous: it passed before any work", class_="warn") if is_vacuous else None,
                )
            )
            parts.extend(tag("div", sentence, class_="dim") for sentence in verdict.rests_on)
            if verdict.output.strip():
                parts.append(tag("pre", render.tail(verdict.output)))
    tampered, added = wording.as_list(remit.get("tampered")), wording.as_list(remit.get("added"))
    parts.extend(
        tag("p", f"tampered: {path} was protected and was changed", class_="no") for path in tampered
    )
    parts.extend(tag("p", f"added: {path} was left out of the verification", class_="warn") for path in added)
    return join(parts)


def _calls(receipt: wording.Json) -> Markup | None:
    rows: list[list[Markup]] = []
    for position, call in enumerate(map(wording.as_object, wording.as_list(receipt.get("calls"))), start=1):
        took = wording.duration_between(call.get("started_at"), call.get("ended_at"))
        state = str(call.get("state"))
        reason = f" ({call['error_reason']})" if call.get("error_reason") else ""
        rows.append(
            [
                _number(str(position)),
                _cell(str(call.get("served_model") or call.get("model") or call.get("tool"))),
                _cell(str(call.get("purpose") or "")),
                _number(amount_text(call.get("held"))),
                _number(amount_text(call.get("settled"))),
                tag("td", f"{state}{reason}", class_=None if state == "settled" else "warn"),
                _number("" if took is None else wording.seconds(took)),
            ]
        )
    return _table(("#n", "model", "for", "held#n", "settled#n", "state", "time#n"), rows)


def _tools(receipt: wording.Json) -> Markup | None:
    rows = [
        [
            _cell(name),
            _number(str(uses)),
            _number(wording.seconds(took)),
            _number(str(errors)),
            _number(str(unknown)),
        ]
        for name, uses, took, errors, unknown in tools_by_name(receipt)
    ]
    return _table(("tool", "uses#n", "time#n", "errors#n", "may have run#n"), rows)


def _accounts(receipt: wording.Json) -> Markup | None:
    rows: list[list[Markup]] = []
    for account in map(wording.as_object, wording.as_list(receipt.get("accounts"))):
        show = wording.nano_usd if account.get("unit") == "nano_usd" else wording.count
        cap = "none" if account.get("cap") is None else show(account["cap"])
        numbers = [cap, *(show(account.get(name)) for name in ("spent", "held", "granted"))]
        unit = "dollars" if account.get("unit") == "nano_usd" else "tokens"
        names = [str(account.get("stream_id")), str(account.get("purpose")), unit]
        rows.append([*map(_cell, names), *map(_number, numbers)])
    return _table(("stream", "for", "unit", "cap#n", "spent#n", "held#n", "granted#n"), rows)


def _section(title: str, content: Markup | None) -> Markup | None:
    return join([tag("h2", title), tag("div", content, class_="scroll")]) if content else None


def _table(columns: Sequence[str], rows: Sequence[Sequence[Markup]]) -> Markup | None:
    if not rows:
        return None
    head = [
        tag("th", name.removesuffix("#n"), class_="n" if name.endswith("#n") else None) for name in columns
    ]
    return tag("table", tag("thead", tag("tr", *head)), tag("tbody", *(tag("tr", *row) for row in rows)))


def _cell(text: str) -> Markup:
    return tag("td", text)


def _number(text: str) -> Markup:
    return tag("td", text, class_="n")


def _yes_no(value: object) -> tuple[str, str]:
    return ("yes", "yes") if value is True else ("no", "no")
