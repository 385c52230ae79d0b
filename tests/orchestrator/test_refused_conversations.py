"""A conversation that a provider refuses is mended and goes on: blocks are put aside, room is made, the log says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from remit.errors import ModelCallFailed
from remit.session.compaction import Compact, Shorten, next_relief, summary_of_what_fits
from remit.session.folding import fold
from remit.session.history import Forgotten
from remit.session.refusals import BlockPlace
from remit.session.state import SessionState
from remit.session.view import request
from remit.testing.messages_rules import body_of, violations
from remit.values import (
    Append,
    EventRow,
    JsonObject,
    JsonValue,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    NewEvent,
    Usage,
)
from support.session_bench import PRINCIPAL, SessionBench, texts

pytestmark = pytest.mark.anyio
Answer = Sequence[JsonObject]
BYTES_PER_TOKEN = 4


def says(text: str) -> Answer:
    return [{"type": "text", "text": text}]


def bash(id: str, command: str) -> JsonObject:
    return {"type": "tool_use", "id": id, "name": "bash", "input": {"command": command}}


class Provider:
    """Answers off a list; refuses what breaks a published rule, what is longer than it takes, and what it is told to."""

    def __init__(
        self,
        *answers: Answer,
        window: int = 1_000_000,
        thought: int = 200_000,
        too_long: str = "prompt is too long: {sent} tokens > {window} maximum",
        refuses: Callable[[str], str | None] = lambda said: None,
    ) -> None:
        self.answers = list(answers)
        self.window = window
        self.thought = thought
        self.too_long = too_long
        self.refuses = refuses
        self.requests: list[ModelRequest] = []
        self.refusals: list[str] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        self.requests.append(request)
        assert not (found := violations(body_of(request))), found
        sent = len(request.content_json) // BYTES_PER_TOKEN
        refusal = self.refuses(request.content_json.decode())
        if sent + request.max_tokens > self.window:
            refusal = self.too_long.format(sent=sent, window=self.window)
        if refusal is not None:
            self.refusals.append(refusal)
            raise ModelCallFailed(
                f"provider answered 400: {refusal}", reason="invalid", billed="no", is_retryable=False
            )
        is_summary = b"about to be replaced by a summary" in request.content_json
        content = says("All in short.") if is_summary else self.answers.pop(0)
        yield ModelResponse(
            content=tuple(content),
            stop_reason="end_turn",
            usage=Usage(input_tokens=sent, output_tokens=10),
            model="provider/any",
        )

    async def models(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(
                id="any",
                display_name="any",
                context_tokens=self.thought,
                max_output_tokens=32_000,
                provider="provider",
            )
        ]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        return


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncGenerator[Callable[[Provider], SessionBench]]:
    benches: list[SessionBench] = []

    def make(provider: Provider) -> SessionBench:
        benches.append(SessionBench(tmp_path, scripts={}, models={"provider": provider}))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.close()


async def talk(bench: SessionBench, *said: str | list[JsonObject]) -> tuple[str, list[JsonObject]]:
    """A session in which that is said, one turn after the other; its id and how each turn ended."""
    ends: list[JsonObject] = []
    async with bench.running():
        session_id = await bench.create(agent={"model": {"id": "provider/any"}})
        for number, one in enumerate(said, start=1):
            content = [{"type": "text", "text": one}] if isinstance(one, str) else one
            await bench.send(session_id, "user.message", content=cast("JsonValue", content))
            ends.append(cast("JsonObject", (await bench.wait_idle(session_id, count=number))["stop_reason"]))
    return session_id, ends


END: JsonObject = {"type": "end_turn"}


@pytest.mark.parametrize(
    "blank",
    [
        [{"type": "text", "text": ""}, bash("toolu_1", "echo hi")],
        [{"type": "text", "text": "\n\n"}],
        [{"type": "text", "text": " "}, {"type": "text", "text": "x"}],
        [{"type": "thinking", "thinking": "", "signature": "c2ln"}, {"type": "text", "text": ""}],
        [],
    ],
)
async def test_blank_texts_of_the_model_stay_in_the_log_and_are_not_sent(
    make_bench: Callable[[Provider], SessionBench], blank: Answer
) -> None:
    uses = any(block["type"] == "tool_use" for block in blank)
    provider = Provider(blank, *([says("done")] if uses else []), says("hello"), says("again"))
    session_id, ends = await talk(make_bench(provider), "go", "hi", "still there?")
    assert ends == [END] * 3, session_id


async def test_ids_that_come_again_in_every_answer_are_told_apart(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    twice = [bash("call_0", "echo a"), bash("call_0", "echo b")]
    provider = Provider(twice, [bash("call_0", "echo c")], says("done"), says("bye"))
    bench = make_bench(provider)
    session_id, ends = await talk(bench, "go", "and?")
    assert ends == [END] * 2
    results = [texts(one).strip() for one in await bench.bodies(session_id, "agent.tool_result")]
    assert results == ["a", "b", "c"]


async def test_an_image_that_is_refused_is_put_aside_and_the_session_goes_on(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    url = "https://example.com/broken.png"
    image: JsonObject = {"type": "image", "source": {"type": "url", "url": url}}

    def refuses(said: str) -> str | None:
        return "messages.0.content.1.image.source: Could not process image" if url in said else None

    provider = Provider(says("I cannot see it."), says("hi"), refuses=refuses)
    bench = make_bench(provider)
    session_id, ends = await talk(bench, [{"type": "text", "text": "look"}, image], "forget it, say hi")
    assert ends == [END, END]
    assert len(provider.refusals) == 1
    (row,) = await bench.bodies(session_id, "context.put_aside")
    assert (row["message"], row["block"], row["inner"]) == (0, 1, None)
    assert "Could not process image" in str(row["reason"])
    assert "an image was left out" in str(provider.requests[-1].messages)
    assert await bench.bodies(session_id, "session.error") == []


async def test_a_refusal_that_names_nothing_of_the_conversation_ends_the_turn_after_one_call(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    provider = Provider(refuses=lambda said: "model: not found")
    bench = make_bench(provider)
    session_id, ends = await talk(bench, "hi")
    assert ends == [{"type": "retries_exhausted"}]
    assert len(provider.requests) == 1
    assert "model: not found" in str(await bench.bodies(session_id, "session.error"))


async def test_a_provider_that_refuses_whatever_is_put_aside_is_asked_so_often_and_no_more(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    provider = Provider(refuses=lambda said: "messages.0.content.0.text: no")
    _, ends = await talk(make_bench(provider), "hi")
    assert ends == [{"type": "retries_exhausted"}]
    assert len(provider.requests) == 5


WORDINGS = (
    "prompt is too long: {sent} tokens > {window} maximum",
    "Input is too long for requested model.",
    "the request exceeds the available context size, try increasing it",
)


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("window", [80_000, 24_000, 8_192])
async def test_a_window_that_is_smaller_than_was_thought_is_learned_and_the_turn_goes_on(
    make_bench: Callable[[Provider], SessionBench], wording: str, window: int
) -> None:
    outputs = [bash(f"toolu_{n}", "head -c 99000 /dev/zero | tr '\\0' x") for n in range(4)]
    provider = Provider(outputs, says("done"), says("bye"), window=window, too_long=wording)
    bench = make_bench(provider)
    session_id, ends = await talk(bench, "print a lot", "and now?")
    assert ends == [END, END], await bench.bodies(session_id, "session.error")
    assert await bench.bodies(session_id, "context.overflowed")


async def test_parallel_results_that_overshoot_the_window_are_cut_before_anything_is_refused(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    outputs = [bash(f"toolu_{n}", "head -c 99000 /dev/zero | tr '\\0' x") for n in range(9)]
    provider = Provider(outputs, says("done"), window=200_000)
    session_id, ends = await talk(make_bench(provider), "print a lot")
    assert ends == [END], session_id
    assert provider.refusals == []


async def test_a_message_longer_than_the_window_is_summarised_from_what_fits(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    provider = Provider(says("noted"), says("yes"), window=50_000, thought=50_000)
    bench = make_bench(provider)
    session_id, ends = await talk(bench, "word " * 100_000, "still there?")
    assert ends == [END, END], session_id
    assert await bench.bodies(session_id, "context.compacted")


@pytest.mark.parametrize("wording", WORDINGS)
async def test_the_window_is_learnt_from_what_was_sent_and_not_from_what_the_log_holds(
    make_bench: Callable[[Provider], SessionBench], wording: str
) -> None:
    # The log names a file; its contents, ten times the window, are put in when the model is asked.
    provider = Provider(says("noted"), says("yes"), window=40_000, too_long=wording)
    bench = make_bench(provider)
    stored = await bench.blobs.put(b"word " * 80_000)
    source: JsonObject = {"type": "file", "file_id": "file_1"}
    pinned: JsonObject = {"sha256": stored, "mime_type": "text/plain", "filename": "long.txt"}
    async with bench.running():
        session_id = await bench.create(agent={"model": {"id": "provider/any"}})
        row: JsonObject = {"id": "sevt_pinned", "type": "files.pinned", "files": {"file_1": pinned}}
        event = NewEvent(
            event_id="sevt_pinned",
            type="files.pinned",
            visibility="private",
            body=msgspec.json.encode(row),
            key="pinned",
        )
        await bench.store.append(PRINCIPAL, Append(stream_id=session_id, events=(event,)))
        await bench.send(
            session_id,
            "user.message",
            content=[{"type": "text", "text": "read this"}, {"type": "document", "source": source}],
        )
        assert (await bench.wait_idle(session_id))["stop_reason"] == END
        await bench.say(session_id, "still there?")
        assert (await bench.wait_idle(session_id, count=2))["stop_reason"] == END
    (first, *_) = await bench.bodies(session_id, "context.overflowed")
    assert cast("int", first["sent_tokens"]) > 90_000
    assert 2_000 < cast("int", first["window_tokens"]) < cast("int", first["sent_tokens"])


async def test_a_summary_that_is_refused_for_its_length_teaches_the_window_too(
    make_bench: Callable[[Provider], SessionBench],
) -> None:
    refused: list[str] = []

    def refuses(said: str) -> str | None:
        is_summary = "about to be replaced by a summary" in said
        if is_summary and len(said) > 50_000:
            refused.append(said)
            return "Input is too long for requested model."
        return None

    provider = Provider(says("noted"), says("yes"), window=200_000, thought=50_000, refuses=refuses)
    bench = make_bench(provider)
    long: list[JsonObject] = [{"type": "text", "text": "word " * 1_500}] * 30
    session_id, ends = await talk(bench, long, "still there?")
    assert ends == [END, END], await bench.bodies(session_id, "session.error")
    assert refused
    rows = await bench.bodies(session_id, "context.overflowed", "context.compacted")
    assert [row["type"] for row in rows][-1] == "context.compacted"
    learnt = [cast("int", row["window_tokens"]) for row in rows if row["type"] == "context.overflowed"]
    assert learnt == sorted(learnt, reverse=True)
    assert all(window < 50_000 for window in learnt)


@pytest.mark.parametrize(
    "refusal",
    [
        "Content Exists Risk",
        "The request was rejected because it was considered high risk",
        "<400> InternalError.Algo.DataInspectionFailed: Input data may contain inappropriate content.",
        "messages.0.content.1.text: unsupported characters",
    ],
)
async def test_a_message_that_is_refused_for_what_it_says_does_not_end_the_session(
    make_bench: Callable[[Provider], SessionBench], refusal: str
) -> None:
    def refuses(said: str) -> str | None:
        return refusal if "the forbidden word" in said else None

    provider = Provider(says("I cannot see it."), says("hi"), refuses=refuses)
    bench = make_bench(provider)
    content: list[JsonObject] = [
        {"type": "text", "text": "look at this"},
        {"type": "text", "text": "the forbidden word"},
    ]
    session_id, ends = await talk(bench, content, "forget it, say hi")
    assert ends == [END, END]
    assert len(provider.refusals) == 1
    assert "a text was left out" in str(provider.requests[-1].messages)
    assert await bench.bodies(session_id, "context.put_aside")


@pytest.mark.parametrize("command", ["echo forbidden-''output", "echo forbidden-output"])
async def test_what_a_tool_printed_is_put_aside_when_it_is_refused_for_what_it_says(
    make_bench: Callable[[Provider], SessionBench], command: str
) -> None:
    def refuses(said: str) -> str | None:
        return "Content Exists Risk" if "forbidden-output" in said else None

    thought: JsonObject = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    printed = [thought, *says("I look."), thought, bash("toolu_1", command), bash("toolu_2", "echo fine")]
    provider = Provider(printed, says("done"), says("bye"), refuses=refuses)
    bench = make_bench(provider)
    session_id, ends = await talk(bench, "go", "and?")
    assert ends == [END, END]
    assert len(provider.refusals) == 1
    rows = await bench.store.read(PRINCIPAL, session_id)
    looked_at = fold(rows, SessionState(history=Forgotten()))
    assert looked_at.seq == len(rows), "who only looks at the session reads every row"
    assert "I look." in str(provider.requests[-1].messages)


@pytest.mark.parametrize(
    "refusal",
    [
        "Invalid 'messages[7].content[1].image_url.url': unsupported image",
        "Unable to download the file. Please verify the URL and try again.",
        "Failed to decode base64 data at contents[3].parts[1]",
        "Error downloading content from https://example.com/broken.png",
        "No endpoints found that support image input",
        "unknown variant `image_url`, expected `text`",
    ],
)
async def test_an_image_that_is_refused_in_another_protocols_words_is_put_aside(
    make_bench: Callable[[Provider], SessionBench], refusal: str
) -> None:
    url = "https://example.com/broken.png"
    image: JsonObject = {"type": "image", "source": {"type": "url", "url": url}}
    provider = Provider(says("ok"), says("hi"), refuses=lambda said: refusal if url in said else None)
    _, ends = await talk(make_bench(provider), [{"type": "text", "text": "look"}, image], "say hi")
    assert ends == [END, END]
    assert len(provider.refusals) == 1


# ------------------------------------------------------------------------------------------ the decisions alone


def state_with_results(count: int, characters: int) -> SessionState:
    state = SessionState(agent={"model": {"id": "m"}, "system": None})
    state.history.add_user([{"type": "text", "text": "go"}])
    uses = [bash(f"toolu_{n}", "x") for n in range(count)]
    state.history.add_assistant(uses)
    state.bytes_at_last_call = state.history.bytes_added
    for number in range(count):
        text: JsonObject = {"type": "text", "text": "x" * characters}
        state.history.add_tool_result(f"toolu_{number}", [text], seq=number + 1, is_error=False)
    return state


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("window", [8_000, 32_000, 200_000])
def test_the_request_that_is_made_at_last_fits_the_window(count: int, window: int) -> None:
    state = state_with_results(count, 99_000)
    for _ in range(10):
        asked = request(state, ())
        relief = next_relief(state, asked, window_tokens=window)
        if relief is None:
            break
        if isinstance(relief, Compact):
            sent = len(relief.request.content_json) // BYTES_PER_TOKEN
            assert sent + relief.request.max_tokens <= window
            break
        assert isinstance(relief, Shorten)
        body = msgspec.json.encode({"id": "s", "type": "context.cleared", **msgspec.structs.asdict(relief)})
        state = fold([_row(body)], state)
    else:
        raise AssertionError("there is no end of it")


@pytest.mark.parametrize("text", ["x", "ü", "漢", "\n"])
def test_a_summary_of_what_fits_fits_whatever_was_said(text: str) -> None:
    state = state_with_results(3, 10)
    state.history.add_user([{"type": "text", "text": f"a{text * 300_000}b"}])
    asked = summary_of_what_fits(request(state, ()), window_tokens=16_000)
    assert violations(body_of(asked)) == []
    told = str(asked.messages)
    assert len(told) < 16_000 * 3
    assert "were left out" in told


def test_a_block_of_a_result_is_put_aside_alone() -> None:
    state = state_with_results(2, 10)
    state.history.put_aside(BlockPlace(2, 1, 0), "it was refused")
    asked = request(state, ())
    assert violations(body_of(asked)) == []
    assert str(asked.messages).count("it was refused") == 1
    assert "xxxxxxxxxx" in str(asked.messages)


def _row(body: bytes) -> EventRow:
    return EventRow(
        workspace_id="w",
        stream_id="s",
        seq=99,
        event_id="s",
        type="context.cleared",
        visibility="private",
        schema_version=1,
        created_at_us=1,
        body=body,
    )
