"""What crosses the control socket, and how output is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.sandboxes.guest import jsons
from remit.sandboxes.guest.capture import Capture
from remit.sandboxes.guest.frames import FrameError, FrameReader, pack

pieces = st.lists(st.binary(max_size=40), max_size=30)


@given(frames=st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=60)), max_size=6), data=st.data())
def test_any_split_of_the_bytes_gives_the_same_frames(
    frames: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(pack(header, payload) for header, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader()
    found: list[tuple[bytes, bytes]] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert found == frames


def test_a_frame_beyond_its_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed((1 << 31).to_bytes(4, "big") + bytes(8))


@given(pieces=pieces, limit=st.integers(2, 60))
def test_output_keeps_head_and_tail_and_counts_the_rest(pieces: list[bytes], limit: int) -> None:
    everything = b"".join(pieces)
    capture = Capture(limit)
    for piece in pieces:
        capture.add(piece)
    assert capture.total == len(everything)
    assert capture.is_truncated == (len(everything) > limit)
    if not capture.is_truncated:
        assert capture.render() == everything
        return
    note = f"\n[... {len(everything) - limit} bytes left out ...]\n".encode()
    assert (
        capture.render()
        == everything[: limit - limit // 2] + note + everything[len(everything) - limit // 2 :]
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=json_values)
def test_the_light_json_codec_is_the_standard_one(value: object) -> None:
    import json

    assert jsons.loads(jsons.dumps(value)) == value
    assert jsons.dumps(value) == json.dumps(value, separators=(",", ":")).encode()
