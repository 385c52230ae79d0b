"""What becomes of a store and its folder when both may have changed."""

from __future__ import annotations

from itertools import product

import pytest

from remit.session.memory_merge import Merge, Remove, Rename, Take, Write, merge, unfit_paths


def merged(before: str | None, folder: str | None, store: str | None) -> Merge:
    """Of one path."""
    sides = ({} if one is None else {"/a": one} for one in (before, folder, store))
    return merge(*sides, leaving=())


@pytest.mark.parametrize(
    ("before", "folder", "store", "expected"),
    [
        (None, "1", None, Merge(writes=[Write(path="/a", sha256="1", before=None)])),
        ("1", "2", "1", Merge(writes=[Write(path="/a", sha256="2", before="1")])),
        ("1", None, "1", Merge(removes=[Remove(path="/a", before="1")])),
        (None, None, "1", Merge(takes=[Take(path="/a", sha256="1", before=None, is_conflict=False)])),
        ("1", "1", "2", Merge(takes=[Take(path="/a", sha256="2", before="1", is_conflict=False)])),
        ("1", "1", None, Merge(takes=[Take(path="/a", sha256=None, before="1", is_conflict=False)])),
        ("1", "2", "3", Merge(takes=[Take(path="/a", sha256="3", before="2", is_conflict=True)])),
        ("1", "2", None, Merge(takes=[Take(path="/a", sha256=None, before="2", is_conflict=True)])),
        ("1", None, "2", Merge(takes=[Take(path="/a", sha256="2", before=None, is_conflict=True)])),
        (None, "1", "2", Merge(takes=[Take(path="/a", sha256="2", before="1", is_conflict=True)])),
        (None, "1", "1", Merge(agreed={"/a": "1"})),
        ("1", None, None, Merge(agreed={"/a": None})),
        ("1", "1", "1", Merge()),
    ],
)
def test_who_alone_changed_something_is_followed_and_else_the_store(
    before: str | None, folder: str | None, store: str | None, expected: Merge
) -> None:
    assert merged(before, folder, store) == expected


def test_what_is_carried_out_is_agreed_on_and_nothing_is_left_to_do() -> None:
    for before, folder, store in product((None, "1", "2", "3"), repeat=3):
        found = merged(before, folder, store)
        for write in found.writes:
            store = write.sha256
        if found.removes:
            store = None
        for take in found.takes:
            folder = take.sha256
        assert folder == store
        assert merged(store, folder, store) == Merge()


def test_a_text_that_goes_at_one_path_and_comes_at_another_is_renamed() -> None:
    before = {"/a": "1", "/b": "1", "/c": "2"}
    found = merge(before, {"/x": "1", "/c": "3", "/y": "2"}, before, leaving=())
    assert found.renames == [Rename(path="/x", before_path="/a", sha256="1")]
    assert found.removes == [Remove(path="/b", before="1")]
    assert [write.path for write in found.writes] == ["/c", "/y"]


def test_paths_that_are_left_are_neither_written_nor_taken_nor_removed() -> None:
    assert merge({"/a": "1"}, {}, {"/a": "2"}, leaving={"/a"}) == Merge()


def test_files_go_before_others_come_in_their_place() -> None:
    found = merge({"/a/b": "1"}, {"/a/b": "1"}, {"/a": "2"}, leaving=())
    assert [take.path for take in found.takes] == ["/a/b", "/a"]


def test_memories_that_cannot_be_files_of_one_folder_are_left_out() -> None:
    long = "/" + "ä" * 128
    unfit = unfit_paths(["/a/b/c", "/a", "/ab", "/a/b", long, "/x/y", "/x/y/z"])
    assert sorted(unfit) == ["/a/b", "/a/b/c", "/x/y/z", long]
