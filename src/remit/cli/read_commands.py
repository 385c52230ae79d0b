"""The commands that look at what is there, and the two that act on a result: `verify` and `apply`."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
from rich.console import Console
from rich.table import Table
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.cli.apply_changes import apply_changes, plan_changes, signals_wait
from remit.cli.connect import Invocation, settings_of
from remit.cli.do import retrieve, unowned_text
from remit.cli.failure import EXIT_NOT_VERIFIED, EXIT_VERIFIED, BadUsage
from remit.cli.links import page_link
from remit.cli.owners import owner_probe
from remit.cli.receipt import receipt_text
from remit.cli.receipt_html import receipt_html
from remit.cli.stream_ids import ask
from remit.cli.view import verdicts_of
from remit.client.anew import INPUT_PATH
from remit.client.client import AsyncClient
from remit.client.consent import reason_lines, reasons_beside_cost
from remit.client.folders.changes import (
    CHANGED_FILES,
    changes_of,
    download,
    folders_of,
    strays_of,
    strays_text,
)
from remit.client.folders.deliver import short_id
from remit.client.stream import JsonObject
from remit.schema.stream_operations import CheckReport

LISTED_MAX = 50


async def list_remits(invocation: Invocation, *, limit: int) -> int:
    """`remit ls`: newest first."""
    async with invocation.look() as connection:
        found: list[JsonObject] = []
        remits = connection.client.remits.list(order="desc")
        async for remit in remits:
            found.append(remit)
            if len(found) == limit:
                break
        await remits.aclose()
        is_shown = not invocation.is_json and not connection.is_owner
        page = await page_link(connection.client) if is_shown else None
    if invocation.is_json:
        for remit in found:
            invocation.print_json(remit)
        return EXIT_VERIFIED
    if not found:
        invocation.console.print(
            'There are no remits yet. Begin with: remit do "…" --input . --verify "…" --budget 1'
        )
        return EXIT_VERIFIED
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False, expand=True)
    for name in ("remit", "status", "verified", "spent"):
        table.add_column(name, no_wrap=True)
    table.add_column("outcome", no_wrap=True, overflow="ellipsis", ratio=1)
    for remit in found:
        table.add_row(
            short_id(remit["id"]) if invocation.console.is_terminal else str(remit["id"]),
            str(remit["status"]).replace("_", " "),
            _verified_text(remit),
            _spent(remit),
            Text(wording.one_line(wording.printable(str(remit["outcome"])))),
        )
    invocation.console.print(table)
    if page is not None:
        invocation.console.print(Text(f"watch  {page}", style="dim"), soft_wrap=True)
    return EXIT_VERIFIED


async def show(invocation: Invocation, remit_id: str) -> int:
    """`remit show`: one remit as it is now."""
    async with invocation.look() as connection:
        remit = await retrieve(connection.client, remit_id)
        if invocation.is_json:
            invocation.print_json(remit)
            return EXIT_VERIFIED
        receipt = await connection.client.remits.receipt(remit["id"])
    folder = wording.as_object(remit.get("metadata")).get(INPUT_PATH)
    pairs = [("remit", str(remit["id"])), ("status", wording.status_text(str(remit["status"])))]
    if remit.get("session_ids"):
        pairs.append(("sessions", ", ".join(map(str, remit["session_ids"]))))
    invocation.console.print(render.rows(pairs))
    invocation.console.print(
        render.forecast(remit, folder=folder if isinstance(folder, str) else None, input_notes=())
    )
    if reasons := reasons_beside_cost(remit):
        invocation.console.print(Text("\n".join(reason_lines(remit, reasons)), style="yellow"))
    invocation.console.print()
    invocation.console.print(render.ending(remit, receipt))
    if connection.is_unowned and remit["status"] not in wording.ENDED:
        invocation.console.print(Text(unowned_text(remit), style="yellow"))
    return EXIT_VERIFIED


async def receipt(invocation: Invocation, remit_id: str, *, html: Path | None) -> int:
    """`remit receipt`: on the screen, as JSON, or as one HTML file."""
    async with invocation.look() as connection:
        remit = await retrieve(connection.client, remit_id)
        found = await connection.client.remits.receipt(remit["id"])
    if html is not None:
        await anyio.Path(html).write_bytes(receipt_html(remit, found))
        invocation.console.print(Text(f"Written to {html}"))
    elif invocation.is_json:
        invocation.print_json(found)
    else:
        invocation.console.print(receipt_text(found))
    return EXIT_VERIFIED


async def verify(invocation: Invocation, remit_id: str) -> int:
    """`remit verify`: run the verifiers again on the result."""
    async with invocation.connect() as connection:
        remit = await retrieve(connection.client, remit_id)
        answer = await connection.client.remits.verify(remit["id"])
    if invocation.is_json:
        invocation.print_json(answer)
    else:
        for verdict in verdicts_of(answer.get("verdicts")):
            mark, style = ("✓", "green") if verdict.passed else ("✗", "red")
            invocation.console.print(
                Text.assemble((f"{mark} ", style), verdict.verifier, (f"  {verdict.summary}", "dim"))
            )
            if not verdict.passed and verdict.output.strip():
                invocation.console.print(Text(render.tail(verdict.output), style="dim"))
        invocation.console.print(
            render.rows([("verified", "yes" if answer.get("verified") is True else "no")])
        )
    return EXIT_VERIFIED if answer.get("verified") is True else EXIT_NOT_VERIFIED


async def check(invocation: Invocation, id: str | None) -> int:
    """`remit check`: what must always hold, of one stream or (with None) of all remits."""
    is_ok, count = True, 0
    async with invocation.look() as connection:
        async for answer in _checks(connection.client, id):
            is_ok, count = is_ok and answer["ok"] is True, count + 1
            if invocation.is_json:
                invocation.print_json(answer)
            else:
                _print_check(invocation.console, answer)
    if not invocation.is_json:
        invocation.console.print(
            Text(
                f"{wording.counted(count, 'remit' if id is None else 'stream')} checked: {'all is well' if is_ok else 'NOT well'}"
            )
        )
    return EXIT_VERIFIED if is_ok else EXIT_NOT_VERIFIED


async def doctor(invocation: Invocation) -> int:
    """`remit doctor`: what works on this machine, and the mend of what does not."""
    async with invocation.look() as connection:
        answer: JsonObject = await connection.client.doctor()
    if invocation.opener is None:
        probe = owner_probe(settings_of(invocation.platform))
        is_ok = answer.get("ok") is True and probe["ok"]
        answer = {**answer, "probes": [*answer["probes"], probe], "ok": is_ok}
    if invocation.is_json:
        invocation.print_json(answer)
    else:
        _print_probes(invocation.console, [wording.as_object(probe) for probe in answer["probes"]])
    return EXIT_VERIFIED if answer.get("ok") is True else EXIT_NOT_VERIFIED


async def apply(invocation: Invocation, remit_id: str, *, to: Path | None) -> int:
    """`remit apply`: land the result in the folder it came from."""
    async with invocation.look() as connection:
        remit = await retrieve(connection.client, remit_id)
        folder = _apply_folder(remit, to)
        listing = await connection.client.remits.deliverables(remit["id"])
        changes = changes_of(listing)
        folders = folders_of(listing)
        plan = await anyio.to_thread.run_sync(plan_changes, folder, changes, folders)
        if not changes and not folders:
            invocation.console.print("The remit changed no file; there is nothing to apply.")
            return EXIT_VERIFIED
        if not plan.steps and not plan.folders and not plan.conflicts:
            invocation.console.print(Text(f"Already applied to {folder}."))
            return EXIT_VERIFIED
        with tempfile.TemporaryDirectory(prefix="remit-apply-") as temporary:
            archive = Path(temporary) / CHANGED_FILES
            if not plan.conflicts:
                await download(connection.client, remit["id"], CHANGED_FILES, archive)
            with signals_wait():
                notes = await anyio.to_thread.run_sync(apply_changes, plan, archive)
    for change in plan.steps:
        invocation.console.print(_change_line(change.kind, change.path))
    for one in plan.folders:
        invocation.console.print(_change_line(one.kind, f"{one.path}/"))
    count = len(plan.steps) + len(plan.folders)
    invocation.console.print(Text(f"Applied {wording.counted(count, 'change')} to {folder}."))
    if strays := strays_of(listing):
        notes = (*notes, strays_text(strays))
    for note in (*notes, *map(str, wording.as_list(listing.get("notes")))):
        invocation.console.print(Text(f"Note: {wording.printable(note)}", style="yellow"))
    if remit.get("verified") is not True:
        invocation.console.print(Text("Note: this result was not verified.", style="yellow"))
    return EXIT_VERIFIED


def _change_line(kind: str, path: str) -> Text:
    return Text.assemble((f"{kind:>8}  ", "dim"), wording.printable_name(path))


def _apply_folder(remit: JsonObject, to: Path | None) -> Path:
    remembered = wording.as_object(remit.get("metadata")).get(INPUT_PATH)
    if to is None and not isinstance(remembered, str):
        raise BadUsage("The remit had no input folder.", mend="Name the folder to write to: --to DIR.")
    folder = to or Path(str(remembered))
    if not folder.is_dir():
        raise BadUsage(
            f"The folder {str(folder)!r} does not exist.", mend="Name the folder to write to: --to DIR."
        )
    return folder.resolve()


async def _checks(client: AsyncClient, id: str | None) -> AsyncIterator[CheckReport]:
    """Of one stream, or with None of every remit."""
    if id is None:
        async for remit in client.remits.list():
            yield await client.streams.check(remit["id"])
        return
    yield await ask(client, id, client.streams.check)


def _print_check(console: Console, answer: JsonObject) -> None:
    mark, style = ("✓", "green") if answer["ok"] else ("✗", "red")
    checked = wording.as_list(answer.get("checked"))
    console.print(Text.assemble((f"{mark} ", style), str(answer["id"]), (f"  {len(checked)} rules", "dim")))
    for violation in map(wording.as_object, wording.as_list(answer.get("violations"))):
        where = f"{violation.get('stream_id')} at {violation.get('seq')}"
        console.print(Text(f"    {violation.get('rule')}: {violation.get('message')} ({where})", style="red"))


def _print_probes(console: Console, probes: list[wording.Json]) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for probe in probes:
        mark = Text("✓", style="green") if probe.get("ok") else Text("✗", style="red")
        grid.add_row(mark, Text(str(probe.get("name")), style="bold"), Text(str(probe.get("detail") or "")))
        if not probe.get("ok") and probe.get("mend"):
            grid.add_row("", "", Text(f"mend: {probe['mend']}", style="yellow"))
    console.print(grid)


def _verified_text(remit: JsonObject) -> Text:
    if remit["status"] not in wording.ENDED:
        return Text("–", style="dim")
    return Text("yes", style="green") if remit.get("verified") else Text("no", style="red")


def _spent(remit: JsonObject) -> str:
    spent = wording.as_object(remit.get("spent"))
    if wording.decimal_is_positive(spent.get("usd")) or not spent.get("tokens"):
        return wording.usd(spent.get("usd"))
    return f"{wording.count(spent['tokens'])} tok"
