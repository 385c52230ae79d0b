"""The key of whoever can read the data folder: made once, theirs alone, and never one that somebody could guess."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from remit.config import load_settings
from remit.errors import InvalidRequest
from remit.ids import Ids
from remit.server.edge.auth import hash_key
from remit.server.operator_key import DEFAULT_WORKSPACE, OperatorKey, operator_key
from remit.stores.memory import MemoryCatalog
from remit.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


class Starts:
    """Starts on one data folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "key"
        self.clock = FakeClock()
        self.catalog = MemoryCatalog(self.clock)
        self._folder = folder

    async def start(self, given: str | None = None) -> OperatorKey:
        settings = load_settings({}, data=self._folder, api_key=given)
        return await operator_key(settings, self.catalog, self.clock, Ids(self.clock))

    async def revoke(self, secret: str) -> None:
        key = await self.catalog.resolve_key(hash_key(secret))
        assert key is not None
        await self.catalog.put_key(msgspec.structs.replace(key, revoked_at_us=1))

    async def opens(self, secret: str) -> bool:
        key = await self.catalog.resolve_key(hash_key(secret))
        return key is not None and key.revoked_at_us is None and "operator" in key.scopes


async def test_it_is_made_at_the_first_start_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    (tmp_path / "key.new").write_text("of a start that was killed")
    made, kept = await starts.start(), await starts.start()
    assert (made.origin, kept.origin) == ("made", "kept")
    assert made.secret == kept.secret == starts.file.read_text().strip()
    assert len(made.secret) > 40
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert stat.S_IMODE(starts.file.stat().st_mode) == 0o600
    assert len(await starts.catalog.list_keys(DEFAULT_WORKSPACE)) == 1


async def test_a_file_that_others_can_read_is_its_owners_again(tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    made = await starts.start()
    starts.file.chmod(0o644)  # as backups leave it
    assert (await starts.start()).secret == made.secret
    assert stat.S_IMODE(starts.file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "\n", "a", "secret", "\x00" * 43, "rk_short"])
async def test_what_is_no_key_does_not_become_one(tmp_path: Path, content: str) -> None:
    starts = Starts(tmp_path)
    starts.file.write_text(content)
    made = await starts.start()
    assert made.origin == "made"
    assert not await starts.opens(content.strip())
    assert await starts.opens(made.secret)


async def test_a_revoked_key_is_replaced_and_never_made_valid_again(tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    first = await starts.start()
    await starts.revoke(first.secret)
    second = await starts.start()
    assert second.secret != first.secret
    assert not await starts.opens(first.secret)
    assert await starts.opens(second.secret)


async def test_a_given_key_is_valid_beside_the_kept_one_until_it_is_revoked(tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    kept = await starts.start()
    given = await starts.start(given="chosen-by-the-operator")
    assert (given.secret, given.origin) == ("chosen-by-the-operator", "given")
    assert await starts.opens(kept.secret)
    assert starts.file.read_text().strip() == kept.secret
    await starts.revoke(given.secret)
    with pytest.raises(InvalidRequest, match="REMIT_API_KEY"):
        await starts.start(given="chosen-by-the-operator")
