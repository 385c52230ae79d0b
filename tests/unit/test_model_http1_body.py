"""A body's end is found where it is, however the bytes were cut, and a body that is none is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.models.http import http1_body
from remit.models.http.http1_body import BadBody, Body, ChunkedBody, LengthBody, OpenBody, body_of

contents = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


def fed(body: Body, data: bytes, cuts: list[int]) -> bytes:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return b"".join(body.feed(data[start:end]) for start, end in pairwise(bounds))


@given(contents=contents, cuts=st.lists(st.integers(0, 3000), max_size=20), more=st.binary(max_size=5))
def test_chunks_are_the_same_however_they_are_cut(
    contents: list[bytes], cuts: list[int], more: bytes
) -> None:
    written = b"".join(b"%X ; a=b\r\n%b\r\n" % (len(one), one) for one in contents)
    body = ChunkedBody()

    assert fed(body, written + b"0\r\nx: y\r\n\r\n" + more, cuts) == b"".join(contents)
    assert body.is_over
    assert body.is_overrun == bool(more) or not more


@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=9))
def test_a_length_is_counted_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    body = LengthBody(len(content))

    assert fed(body, content, cuts) == content
    assert body.is_over
    assert not body.is_overrun
    body.feed(b"x")
    assert body.is_overrun


@pytest.mark.parametrize(
    "written",
    [
        b"\r\n",
        b"x\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"5_0\r\n",
        b" 5\r\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"1" * 17 + b"\r\n",
        b"1;" + b"x" * (http1_body.LINE_BYTES_MAX + 1),
        b"0\r\n" + (b"x: " + b"y" * 4096 + b"\r\n") * 17,
    ],
)
def test_what_are_no_chunks_is_refused(written: bytes) -> None:
    with pytest.raises(BadBody):
        ChunkedBody().feed(written)


def test_a_body_that_breaks_off_is_bad_unless_its_end_is_the_connections() -> None:
    for body in (ChunkedBody(), LengthBody(5)):
        body.feed(b"2\r\nx")
        with pytest.raises(BadBody):
            body.end()
    body = OpenBody()
    body.end()
    assert body.is_over


def test_the_head_says_where_the_body_ends() -> None:
    both = {"transfer-encoding": "chunked", "content-length": "5"}
    assert isinstance(body_of(200, both), ChunkedBody)
    assert isinstance(body_of(200, {"content-length": "5"}), LengthBody)
    assert isinstance(body_of(200, {}), OpenBody)
    assert body_of(204, {}).is_over
