"""A verifier from outside: an outcome asks for it by name, its verdict decides, and its words go back to the agent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from extending.opened import opened
from remit.app import Parts
from remit.client.errors import BadRequestError
from remit.errors import InvalidRequest
from remit.interfaces import BlobReader, CallRecorder, Verifier
from remit.schema.remits import BudgetParams
from remit.schema.verifiers import CustomVerifier
from remit.values import JsonObject, Principal, Tree, Verdict, VerifyRequest

pytestmark = pytest.mark.anyio


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Its configuration."""

    path: str
    at_least: int


class WordCount(Verifier):
    """Passes when a text has enough words."""

    type = "word_count"

    def __init__(self, blobs: BlobReader) -> None:
        self._blobs = blobs

    def is_priced(self, verifier: JsonObject) -> bool:
        return False

    async def check(
        self,
        principal: Principal,
        verifier: JsonObject,
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        try:
            msgspec.convert(verifier["config"], Words)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"`config`: {error}") from error

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict:
        wanted = msgspec.convert(request.verifier["config"], Words)
        tree = msgspec.json.decode(await self._blobs.read(request.tree_digest), type=Tree)
        digests = [entry.sha256 for entry in tree.entries if entry.path == wanted.path and entry.sha256]
        count = sum([len((await self._blobs.read(digest)).split()) for digest in digests])
        said = f"{wanted.path} has {count} words of {wanted.at_least}"
        return Verdict(verifier=request.verifier, passed=count >= wanted.at_least, summary=said, output=said)


def extend(parts: Parts) -> Parts:
    return replace(parts, verifiers=[WordCount(parts.blobs)])


class Dear(WordCount):
    """Says that it costs something, and nobody could tell how much."""

    def is_priced(self, verifier: JsonObject) -> bool:
        return True


def write(text: str) -> JsonObject:
    return {"tool_uses": [{"name": "write", "input": {"file_path": "story.txt", "content": text}}]}


STORY: JsonObject = {
    "steps": [write("Once."), {"text": "Done."}, write("Once upon a time."), {"text": "Longer now."}]
}


async def test_a_verifier_refuses_sends_back_and_verifies(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "story.json").write_text(json.dumps(STORY))
    async with opened(tmp_path, extend, scripted=tmp_path / "scripts") as here:
        remits = here.client.remits
        with pytest.raises(BadRequestError, match="`words`"):
            await remits.create(
                outcome="A story.",
                budget=BudgetParams(tokens=100_000),
                model="scripted/story",
                verifiers=[CustomVerifier(name="word_count", config={"words": 4})],
            )
        made = await remits.create(
            outcome="A story.",
            budget=BudgetParams(tokens=100_000),
            model="scripted/story",
            verifiers=[CustomVerifier(name="word_count", config={"path": "story.txt", "at_least": 4})],
        )
        async with remits.stream(made["id"]) as stream:
            async for event in stream:
                if event["type"] == "remit.forecast":
                    await remits.approve(made["id"])
                if event["type"] == "remit.ended":
                    break
        ended = await remits.retrieve(made["id"])
        shown = await here.command("show", made["id"])
    assert ended["verified"] is True
    assert "word_count" in shown


async def test_a_verifier_that_costs_nobody_knows_what_is_refused(tmp_path: Path) -> None:
    def extend(parts: Parts) -> Parts:
        return replace(parts, verifiers=[Dear(parts.blobs)])

    async with opened(tmp_path, extend) as here:
        with pytest.raises(BadRequestError, match="nobody can say how much"):
            await here.client.remits.create(
                outcome="A story.",
                budget=BudgetParams(tokens=100_000),
                model="scripted/inline",
                verifiers=[CustomVerifier(name="word_count", config={"path": "a", "at_least": 1})],
            )
