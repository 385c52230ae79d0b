"""Which files are protected, and the tree that a verifier gets."""

from __future__ import annotations

import hashlib
from typing import Any

import pathspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import InvalidRequest
from remit.values import Tree, TreeEntry
from remit.verifiers.judged import Judged, judge_tree, planted
from remit.verifiers.patterns import ProtectedPatterns, shipped
from remit.verifiers.protected import protection_of

NOVEMBER_NS = 1_795_000_000 * 10**9


def tree(**files: str) -> Tree:
    """A tree from path=content; `-> x` is a symlink. Keyword names need `**{}` for slashes."""
    entries: dict[str, TreeEntry] = {}
    for path, content in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            entries[folder] = TreeEntry(path=folder, kind="dir", mode=0o755)
        if content.startswith("-> "):
            entries[path] = TreeEntry(path=path, kind="symlink", target=content[3:])
        else:
            digest = hashlib.sha256(content.encode()).hexdigest()
            entries[path] = TreeEntry(
                path=path, kind="file", sha256=digest, size=len(content), mtime_ns=NOVEMBER_NS
            )
    return Tree(entries=tuple(entries[path] for path in sorted(entries)))


def judge(before: Tree, after: Tree, command: str = "pytest -q", unprotect: tuple[str, ...] = ()) -> Judged:
    return judge_tree(
        before,
        after,
        protection_of(before, command, unprotect=unprotect),
        ProtectedPatterns(unprotect=unprotect),
    )


def files_of(judged: Judged) -> set[str]:
    return {entry.path for entry in judged.tree.entries if entry.kind != "dir"}


def entry_of(some: Tree, path: str) -> TreeEntry:
    return next(entry for entry in some.entries if entry.path == path)


def paths(before: Tree, command: str, **options: Any) -> list[str]:
    return [file.path for file in protection_of(before, command, **options).files]


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py",
        "tests/data/golden.json",
        "pkg/conftest.py",
        "pyproject.toml",
        "setup.cfg",
        "deep/er/pytest.ini",
        "sitecustomize.py",
        "a.pth",
        "x.dist-info/entry_points.txt",
        "mypy.ini",
        "ruff.toml",
        ".flake8",
        "tsconfig.build.json",
        "eslint.config.mjs",
        ".golangci.yml",
        "phpstan.neon.dist",
        "vendor/modules.txt",
        "a/BUILD.bazel",
        "src/app.test.ts",
        "package.json",
        "pkg/thing_test.go",
        "src/test/java/ThingTest.java",
        "spec/models/user_spec.rb",
        "Makefile",
    ],
)
def test_tests_and_their_configuration_are_protected_in_many_languages(path: str) -> None:
    assert ProtectedPatterns().why(path) == "a test or its configuration"


@pytest.mark.parametrize(
    "path",
    ["src/app.py", "contest.py", "latest/x.go", "docs/testing.md", "src/spec/openapi.json", "README.md"],
)
def test_ordinary_sources_are_not_protected(path: str) -> None:
    assert ProtectedPatterns().why(path) is None


def test_a_command_that_cannot_be_told_apart_protects_every_file_it_names() -> None:
    before = tree(**{"a.py": "1", "want.txt": "2", "other.py": "3"})
    assert paths(before, "diff <(python a.py) want.txt; for") == ["a.py", "want.txt"]


def test_a_named_directory_protects_only_what_matches_in_it() -> None:
    before = tree(**{"checks/test_a.py": "1", "checks/helper.py": "2"})
    assert paths(before, "pytest checks") == ["checks/test_a.py"]


def test_a_named_file_says_so_in_its_reason() -> None:
    (only,) = protection_of(tree(**{"check.py": "1", "app.py": "2"}), "python check.py").files
    assert (only.path, only.reason) == ("check.py", "named in the command")


def test_protect_adds_and_unprotect_releases() -> None:
    before = tree(**{"golden/a.txt": "1", "tests/test_a.py": "2", "check.py": "3"})
    assert paths(before, "python check.py", protect=("golden/",), unprotect=("tests/", "check.py")) == [
        "golden/a.txt"
    ]


@pytest.mark.parametrize("glob", ["", "  ", "!x", "# no"])
def test_a_glob_that_would_be_ignored_is_refused(glob: str) -> None:
    with pytest.raises(InvalidRequest, match="protect"):
        ProtectedPatterns(protect=(glob,))


def test_a_changed_test_is_tampered_and_restored() -> None:
    before = tree(**{"app.py": "bad", "tests/test_a.py": "assert app"})
    after = tree(**{"app.py": "good", "tests/test_a.py": "assert True"})
    judged = judge(before, after)
    assert judged.tampered == ("tests/test_a.py",)
    assert entry_of(judged.tree, "tests/test_a.py") == entry_of(before, "tests/test_a.py")
    assert entry_of(judged.tree, "app.py").sha256 == entry_of(after, "app.py").sha256


def test_a_removed_test_is_tampered_and_restored_with_its_folder() -> None:
    judged = judge(tree(**{"tests/test_a.py": "x"}), tree(**{"app.py": "1"}))
    assert judged.tampered == ("tests/test_a.py",)
    assert files_of(judged) == {"app.py", "tests/test_a.py"}
    assert entry_of(judged.tree, "tests").kind == "dir"


def test_a_test_whose_mode_changed_is_tampered() -> None:
    before = tree(**{"tests/run.sh": "x"})
    after = Tree(
        entries=tuple(
            entry if entry.kind == "dir" else TreeEntry(**{**_fields(entry), "mode": 0o755})
            for entry in before.entries
        )
    )
    assert judge(before, after).tampered == ("tests/run.sh",)


def _fields(entry: TreeEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def test_times_do_not_matter() -> None:
    before = tree(**{"tests/test_a.py": "x"})
    after = Tree(entries=tuple(TreeEntry(**{**_fields(entry), "mtime_ns": 7}) for entry in before.entries))
    assert judge(before, after).tampered == ()


@pytest.mark.parametrize("stand_in", ["-> elsewhere", "a file"])
def test_a_folder_replaced_by_a_link_or_a_file_is_put_back(stand_in: str) -> None:
    before = tree(**{"pkg/tests/test_a.py": "x", "pkg/app.py": "1"})
    after = tree(**{"pkg/tests": stand_in, "elsewhere/test_a.py": "assert True", "pkg/app.py": "1"})
    judged = judge(before, after)
    assert judged.tampered == ("pkg/tests/test_a.py",)
    assert entry_of(judged.tree, "pkg/tests").kind == "dir"
    assert files_of(judged) == {"pkg/tests/test_a.py", "pkg/app.py"}
    assert set(judged.added) >= {"elsewhere/test_a.py"}


def test_a_test_replaced_by_a_folder_is_put_back_as_a_file() -> None:
    judged = judge(tree(**{"tests/data": "x"}), tree(**{"tests/data/inner.txt": "y"}))
    assert judged.tampered == ("tests/data",)
    assert files_of(judged) == {"tests/data"}


def test_added_tests_and_configuration_are_left_out_and_named() -> None:
    before = tree(**{"app.py": "1", "tests/test_a.py": "x"})
    after = tree(
        **{
            "app.py": "2",
            "tests/test_a.py": "x",
            "conftest.py": "cheat",
            "tests/test_b.py": "y",
            "new.py": "3",
        }
    )
    judged = judge(before, after)
    assert judged.added == ("conftest.py", "tests/test_b.py")
    assert judged.tampered == ()
    assert files_of(judged) == {"app.py", "tests/test_a.py", "new.py"}


def test_an_added_link_named_like_a_test_folder_is_left_out() -> None:
    judged = judge(tree(**{"app.py": "1"}), tree(**{"app.py": "1", "fake/x.py": "y", "tests": "-> fake"}))
    assert judged.added == ("tests",)


def test_released_additions_are_taken_over() -> None:
    judged = judge(tree(**{"app.py": "1"}), tree(**{"tests/new/test_b.py": "y"}), unprotect=("tests/new/",))
    assert judged.added == ()
    assert files_of(judged) == {"tests/new/test_b.py"}
    assert entry_of(judged.tree, "tests").kind == "dir"


def test_bytecode_that_was_not_in_the_input_never_reaches_a_verification() -> None:
    before = tree(**{"app.py": "1", "tests/test_a.py": "x", "old/__pycache__/a.pyc": "same"})
    after = tree(
        **{
            "app.py": "1",
            "tests/test_a.py": "x",
            "tests/__pycache__/test_a.cpython-311.pyc": "forged",
            "old/__pycache__/a.pyc": "same",
        }
    )
    judged = judge(before, after)
    assert files_of(judged) == {"app.py", "tests/test_a.py", "old/__pycache__/a.pyc"}
    assert (judged.added, judged.tampered) == ((), ())


def test_what_a_protected_link_points_to_is_protected_too() -> None:
    before = tree(**{"tests/data.json": "-> ../real/data.json", "real/data.json": "1", "real/other": "2"})
    assert paths(before, "pytest") == ["real/data.json", "tests/data.json"]
    after = tree(**{"tests/data.json": "-> ../real/data.json", "real/data.json": "cheat", "real/other": "3"})
    judged = judge(before, after)
    assert judged.tampered == ("real/data.json",)
    assert entry_of(judged.tree, "real/data.json") == entry_of(before, "real/data.json")


def test_a_link_to_a_folder_protects_what_is_reached_through_it() -> None:
    before = tree(**{"tests": "-> checks", "checks/a.py": "1", "checks/b.txt": "2", "app.py": "3"})
    assert paths(before, "pytest") == ["checks/a.py", "checks/b.txt", "tests"]


def test_a_link_turned_into_a_file_is_tampered() -> None:
    before = tree(**{"tests/data.json": "-> ../real.json", "real.json": "1"})
    after = tree(**{"tests/data.json": "mine", "real.json": "1"})
    judged = judge(before, after)
    assert judged.tampered == ("tests/data.json",)
    assert entry_of(judged.tree, "tests/data.json").kind == "symlink"


def test_links_that_lead_nowhere_out_or_in_circles_are_no_trouble() -> None:
    before = tree(
        **{
            "tests/a": "-> b",
            "tests/b": "-> a",
            "tests/out": "-> ../../etc/passwd",
            "tests/abs": "-> /etc/passwd",
        }
    )
    assert paths(before, "pytest") == ["tests/a", "tests/abs", "tests/b", "tests/out"]


def test_an_absolute_link_into_the_working_tree_is_followed() -> None:
    before = tree(**{"tests/a": "-> /workspace/real/a", "real/a": "1"})
    assert paths(before, "pytest") == ["real/a", "tests/a"]


def test_a_tree_without_folder_entries_is_judged_alike() -> None:
    whole = tree(**{"a/tests/x.py": "1", "a/check.py": "2"})
    bare = Tree(entries=tuple(entry for entry in whole.entries if entry.kind != "dir"))
    assert paths(bare, "python a/check.py") == ["a/check.py", "a/tests/x.py"]
    assert judge(bare, tree(**{"a": "a file now"}), command="python a/check.py").tampered == (
        "a/check.py",
        "a/tests/x.py",
    )


PATHS = st.sampled_from(
    [
        "app.py",
        "tests",
        "tests/a.py",
        "tests/deep/b.py",
        "conftest.py",
        "lib",
        "lib/x.py",
        "lib/tests/c.py",
        "tests/deep",
    ]
)
CONTENTS = st.sampled_from(["one", "two", "-> lib", "-> ../app.py", "-> /etc", "-> tests"])


def _possible(files: dict[str, str]) -> dict[str, str]:
    """Drop what lies below a file or a link."""
    return {
        path: text for path, text in files.items() if not any(path.startswith(f"{other}/") for other in files)
    }


TREES = st.dictionaries(PATHS, CONTENTS, max_size=6).map(lambda files: tree(**_possible(files)))


@given(TREES, TREES)
def test_whatever_the_work_did_protected_files_are_as_they_were(before: Tree, after: Tree) -> None:
    protected = protection_of(before, "pytest")
    judged = judge_tree(before, after, protected, ProtectedPatterns())
    got = {entry.path: entry for entry in judged.tree.entries}
    assert [entry.path for entry in judged.tree.entries] == sorted(got)
    for file in protected.files:
        assert got[file.path] == entry_of(before, file.path)
    for path in got:
        parts = path.split("/")
        assert all(got["/".join(parts[:depth])].kind == "dir" for depth in range(1, len(parts)))
    known = {entry.path for entry in before.entries if entry.kind != "dir"}
    assert not [
        path
        for path, entry in got.items()
        if entry.kind != "dir" and path not in known and ProtectedPatterns().why(path)
    ]


@given(TREES)
def test_untouched_work_is_taken_as_it_is(before: Tree) -> None:
    judged = judge_tree(before, before, protection_of(before, "pytest"), ProtectedPatterns())
    assert (judged.tampered, judged.added) == ((), ())
    assert judged.tree == before


def judge_with(before: Tree, after: Tree, *modules: str, opened: tuple[str, ...] = ()) -> Judged:
    protection = protection_of(before, "python3 judge.py", opened=("judge.py", *opened))
    return judge_tree(before, after, protection, ProtectedPatterns(), judge_modules=modules)


SHADOWS = [
    "json.py",
    "json/__init__.py",
    "src/json.py",
    "lib/decimal.py",
    "tools/json.py",
    "pytest.py",
    "_pytest/__init__.py",
    "requests.py",
    "requests/__init__.py",
    "json.cpython-311-x86_64-linux-gnu.so",
    "select.abi3.so",
]
NO_SHADOWS = [
    "pkg/types.py",
    "pkg/json/__init__.py",
    "types/index.d.ts",
    "new.py",
    "docs/json.py",
    "src/pkg/io.py",
    "email/template.html",
]


@pytest.mark.parametrize("path", [*SHADOWS, *NO_SHADOWS])
def test_an_added_module_that_would_hide_the_judges_is_left_out_and_named(path: str) -> None:
    before = tree(**{"judge.py": "import json", "tools/check.py": "1", "pkg/__init__.py": "", "app.py": ""})
    after = tree(**{**{e.path: e.path for e in before.entries if e.kind == "file"}, path: "cheat"})
    judged = judge_with(before, after, "requests", opened=("tools/check.py", "app.py"))
    assert judged.shadowing == ((path,) if path in SHADOWS else ())
    assert (path in files_of(judged)) == (path in NO_SHADOWS)


@pytest.mark.parametrize(
    ("outcome", "is_noted"),
    [
        ("Add a dist target to the Makefile; Makefile has none.", False),
        ("Bump the version in package.json.", True),
        ("Fix app.py so that tests/test_app.py passes.", False),
        ("app.py does what package.json requires.", False),
    ],
)
def test_a_protected_file_that_the_outcome_names_is_noted(outcome: str, is_noted: bool) -> None:
    before = tree(**{"package.json": "{}", "tests/test_app.py": "", "app.py": ""})
    notes = protection_of(before, "npm test", outcome=outcome, opened=("package.json", "app.py")).notes
    assert any("--unprotect 'package.json'" in note for note in notes) == is_noted


BEFORE = [
    ("judge.py", "judge/__init__.py"),
    ("judge.py", "judge/__main__.py", "judge/__init__.py"),
    ("judge.py", "judge.cpython-311-x86_64-linux-gnu.so"),
    ("checks/c_add.py", "checks/c_add/__init__.py"),
    ("check.js", "check"),
    ("check/index.js", "check.js"),
    ("Judge.pm", "Judge.pmc"),
    ("judge.pl", "lib/Test/More.pm"),
    ("judge.pl", "strict.pm"),
]


@pytest.mark.parametrize("paths", BEFORE)
def test_what_would_be_loaded_before_a_protected_file_is_left_out(paths: tuple[str, ...]) -> None:
    judge, *added = paths
    before = tree(**{judge: "", "app.py": ""})
    protection = protection_of(before, f"run {judge}", opened=(judge, "app.py"), protect=(judge,))
    after = tree(**{judge: "", "app.py": "", **dict.fromkeys(added, "cheat")})
    judged = judge_tree(before, after, protection, ProtectedPatterns())
    assert set(judged.shadowing) == set(added)
    assert set(planted(added, before, protection, ProtectedPatterns(), created=added)) == set(added)


@pytest.mark.parametrize(
    "path", ["judge/notes.py", "check.json", "check/index.js", "lib/Test/Mine.pm", "judge.md", "app"]
)
def test_what_only_stands_beside_a_protected_file_is_kept(path: str) -> None:
    files = {"judge.py": "", "check.js": "", "app.py": ""}
    protection = protection_of(tree(**files), "run", opened=("judge.py",), protect=("judge.py", "check.js"))
    judged = judge_tree(tree(**files), tree(**{**files, path: "new"}), protection, ProtectedPatterns())
    assert (judged.shadowing, path in files_of(judged)) == ((), True)


@pytest.mark.parametrize(
    ("link", "target", "is_kept"),
    [
        ("out.txt", "expected.txt", False),
        ("out", "cases", False),
        ("out.txt", "app.py", True),
        ("latest.txt", "expected.txt", True),
    ],
)
def test_a_link_to_the_judges_where_the_command_writes_is_left_out(
    link: str, target: str, is_kept: bool
) -> None:
    files = {"expected.txt": "1", "cases/a.txt": "1", "app.py": ""}
    before = tree(**files)
    protection = protection_of(before, "run", opened=("app.py", "expected.txt", "cases/a.txt"))
    after = tree(**{**files, link: f"-> {target}"})
    judged = judge_tree(before, after, protection, ProtectedPatterns(), made=("out.txt", "out", "out/a.txt"))
    assert any(entry.path == link for entry in judged.tree.entries) == is_kept


def test_a_changed_module_that_hides_the_standard_librarys_is_as_it_was() -> None:
    before = tree(**{"judge.py": "import json", "json.py": "mine", "app.py": ""})
    after = tree(**{"judge.py": "import json", "json.py": "cheat", "app.py": ""})
    judged = judge_with(before, after)
    assert judged.shadowing == ("json.py",)
    assert entry_of(judged.tree, "json.py") == entry_of(before, "json.py")


@pytest.mark.parametrize("path", ["pluggy/_hooks.py", "src/pluggy/_hooks.py", "attr/__init__.py", "six.py"])
def test_the_projects_own_package_may_change_though_the_judge_has_one_of_that_name(path: str) -> None:
    package = f"{path.rpartition('/')[0]}/__init__.py"
    files = {"judge.py": "", "tests/test_a.py": "", path: "old"} | ({package: "x"} if "/" in path else {})
    judged = judge_with(tree(**files), tree(**{**files, path: "new"}), "pluggy", "attr", "six")
    assert (judged.shadowing, judged.added, judged.tampered) == ((), (), ())


@pytest.mark.parametrize(
    ("path", "is_it"),
    [
        ("conftest.py", True),
        ("json.py", True),
        ("tests/data.txt", False),
        ("build/out.txt", False),
        ("__pycache__/a.cpython-311.pyc", False),
        ("tests/__pycache__/a.pyc", False),
        ("pkg/json.py", False),
    ],
)
def test_what_is_made_while_the_command_runs_planted_where_it_would_judge(path: str, is_it: bool) -> None:
    before = tree(**{"judge.py": "", "pkg/__init__.py": ""})
    protection = protection_of(before, "python3 judge.py", opened=("judge.py",))
    assert planted([path], before, protection, ProtectedPatterns()) == ((path,) if is_it else ())


def test_a_package_is_planted_by_all_that_came_into_being_with_it() -> None:
    before = tree(**{"judge.py": ""})
    protection = protection_of(before, "python3 judge.py", opened=("judge.py",))
    created = ("json", "json/__init__.py", "json/decoder.py")
    assert planted(["json/decoder.py"], before, protection, ProtectedPatterns(), created=created)


def test_files_that_the_untouched_run_rewrites_are_restored_in_silence() -> None:
    before = tree(**{"tests/app.db": "rows", "app.py": "1"})
    protection = protection_of(before, "pytest")
    after = tree(**{"tests/app.db": "more", "app.py": "1"})
    judged = judge_tree(before, after, protection, ProtectedPatterns(), rewritable={"tests/app.db"})
    assert judged.tampered == ()
    assert entry_of(judged.tree, "tests/app.db") == entry_of(before, "tests/app.db")


def test_added_files_are_older_than_all_that_was_given_and_never_before_1980() -> None:
    def dated(some: Tree, seconds: int) -> Tree:
        return Tree(
            entries=tuple(TreeEntry(**{**_fields(e), "mtime_ns": seconds * 10**9}) for e in some.entries)
        )

    given = tree(**{"a.c": "1", "a.o": "1"})
    after = tree(**{"a.c": "2", "a.o": "1", "b.c": "3", "stamp": ""})
    times = {
        e.path: e.mtime_ns for e in judge(dated(given, 10**9), dated(after, 2 * 10**9), "make").tree.entries
    }
    assert times["stamp"] < times["b.c"] < times["a.o"] == 10**18 < times["a.c"]
    early = judge(dated(given, 5), dated(after, 6), "make").tree.entries
    assert min(e.mtime_ns for e in early if e.path in ("b.c", "stamp")) >= 315_619_200 * 10**9


SPEC = pathspec.GitIgnoreSpec.from_lines(shipped())


@given(
    st.lists(
        st.sampled_from([*(p.strip("/").replace("*", "x") for p in shipped()), "a", "src"]),
        min_size=1,
        max_size=4,
    )
)
def test_names_are_looked_up_as_a_gitignore_would_match_them(parts: list[str]) -> None:
    path = "/".join(parts)
    assert (ProtectedPatterns().why(path) is not None) == SPEC.match_file(path)
    assert (ProtectedPatterns().why(path, is_folder=True) is not None) == SPEC.match_file(f"{path}/")
