"""`remit.run`: an outcome carried out in one call, on a platform that lives in this process for as long as that takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from remit.app.embedded import open_platform
from remit.client.blocking import LoopThread
from remit.client.carrying_out import Finished, carry_out
from remit.client.client import AsyncClient
from remit.config import Settings, load_settings
from remit.errors import DataFolderBusy
from remit.ownership import SOCKET_FILE
from remit.schema.remits import BudgetParams
from remit.server.operator_key import KEY_FILE


def run(
    outcome: str,
    *,
    usd: str | None = None,
    tokens: int | None = None,
    folder: str | Path | None = None,
    verify: str | Sequence[str] = (),
    rubric: str | None = None,
    model: str | None = None,
    out: str | Path | None = None,
    despite: Sequence[str] = (),
    data: str | Path | None = None,
) -> Finished:
    """Carry an outcome out within a budget and return when it has ended. `folder` is what the work starts from, and is left
    as it is; `verify` are commands that say whether it is done; the result is written to `out`, a new folder.

    The platform is that of the data folder (`data`, else the setting): its owner's, if a process owns it, else one in
    this process. Raises as `client.carrying_out.carry_out`, and as `open_platform` does.
    """
    settings = load_settings(data=Path(data) if data is not None else None)
    thread = LoopThread(_client(settings))
    try:
        return thread.run(
            carry_out(
                thread.opened,
                outcome,
                budget=BudgetParams(usd=usd, tokens=tokens),
                folder=Path(folder) if folder is not None else None,
                verify=[verify] if isinstance(verify, str) else verify,
                rubric=rubric,
                model=model,
                out=Path(out) if out is not None else None,
                despite=despite,
            )
        )
    finally:
        thread.close()


@asynccontextmanager
async def _client(settings: Settings) -> AsyncGenerator[AsyncClient]:
    try:
        async with (
            open_platform(settings) as platform,
            AsyncClient.in_process(platform.asgi, api_key=platform.api_key) as client,
        ):
            yield client
    except DataFolderBusy:
        key = await to_thread.run_sync((settings.data / KEY_FILE).read_text)
        async with AsyncClient.over_socket(str(settings.data / SOCKET_FILE), api_key=key.strip()) as client:
            yield client
