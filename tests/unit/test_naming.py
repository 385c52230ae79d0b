"""Every way to name the check in a command protects it, and every ordinary way to name the work leaves it alone."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.values import Tree, TreeEntry
from remit.verifiers.protected import Protection, protection_of


def protect(
    command: str, files: Mapping[str, str], *, outcome: str = "", opened: set[str] | None = None
) -> Protection:
    """With all files opened by the untouched run, unless it is said which were."""
    tree = Tree(entries=tuple(TreeEntry(path=path, kind="file", sha256=path) for path in sorted(files)))
    return protection_of(
        tree, command, outcome=outcome, opened=files.keys() if opened is None else opened, read=files.get
    )


def protected(command: str, files: Mapping[str, str], *, outcome: str = "") -> set[str]:
    return {file.path for file in protect(command, files, outcome=outcome).files}


WRAPPERS = [
    "{}",
    "timeout -k 5 60 {}",
    "env -u X A=1 {}",
    "A=1 B='x y' {}",
    "nice -n 5 {}",
    "bash -c '{}'",
    'sh -ec "{}"',
    "bash -c 'timeout 5 bash -c \"{}\"'",
    "eval '{}'",
    "set -euo pipefail; {}",
    "({})",
    "{{ {}; }}",
    "if {}; then echo ok; else exit 1; fi",
    "true && {} || exit 1",
    "bash <<'END'\n{}\nEND",
    "f() {{ {}; }}; f",
    "case $X in a) {};; esac",
    "while {}; do break; done",
    "cd sub && cd .. && {}",
    "cd /workspace; {}",
    "echo start\n{}\necho end",
    "xvfb-run {}",
    "{} >/dev/null 2>&1",
    "{} # a comment",
]
PREFIXES = [
    wrapper
    for wrapper in WRAPPERS
    if re.fullmatch(r"(?!cd |set )[^'\"(;&]*\w {}", wrapper) or wrapper.startswith("A=1")
]
RUNS = [
    "python3 check.py",
    "python3 -u ./check.py --strict",
    "python3 /workspace/check.py",
    "python3 sub/../check.py",
    "python3 che*.py",
    "python3 che?k.py",
    "python3 -m check",
    "python3 -W error -m check",
    "./check.py",
    "python3 - < check.py",
    "cat check.py | python3",
    "uv run check.py",
    "poetry run python check.py",
    "coverage run check.py",
    "coverage run -m check",
    "frobnicate check.py",
    "frobnicate --with=check.py",
    "frobnicate -f check.py",
    "echo check.py | xargs -n 1 python3",
    "python3 {check,none}.py",
    "python3 check.py main.py",
    "python3 check.py | tee log",
    "python3 check.py | grep -q PASS",
    "pytest check.py::test_x",
]
ONCE = [
    "f=check.py; python3 $f",
    'f=check; python3 "${f}.py"',
    'for f in check.py; do python3 "$f"; done',
    "for f in che*.py; do python3 $f || exit 1; done",
    "find . -name 'check.py' -exec python3 {} \\;",
    "find . -name '*eck.py' | sort | xargs python3",
    "find . -name 'che*.py' -print0 | xargs -0 -n1 python3",
    "ls check.py | while read f; do python3 $f; done",
    "python3 $(echo check.py)",
    "python3 `echo check.py`",
    'python3 "$PWD/check.py"',
    'python3 "$(pwd)/check.py"',
    'python3 "$(git rev-parse --show-toplevel)/check.py"',
    "python3 ${CHECK:-check.py}",
    "cd sub && python3 ../check.py",
    "cd $SOMEWHERE && python3 check.py",
    "python3 -c \"exec(open('check.py').read())\"",
    "python3 -c 'import check; check.main()'",
    "python3 -c 'from check import main; main()'",
    "python3 <<'E'\nexec(open('check.py').read())\nE",
    "python3 'check.py'",
    'python3 "check.py"',
    "python3 ch\\eck.py",
    "python3 che'ck'.py",
    "cp check.py /tmp/c.py && python3 /tmp/c.py",
    "out=$(python3 check.py) || exit 1; echo $out",
    'test "$(python3 check.py)" = PASS',
    "python3 check.py > log && grep -q PASS log",
    "pushd sub; python3 ../check.py; popd",
    "[[ -f check.py ]] && python3 check.py",
    "mypy main.py && python3 check.py",
    "python3 -m py_compile main.py && python3 check.py",
    "a=che b=ck.py; python3 $a$b",
    "source check.py",
    ". ./check.py",
    "python3 main.py | python3 check.py",
    "python3 check.py <(python3 main.py)",
    'python3 check.py "$(python3 main.py)"',
    "bash -c 'python3 \"$0\"' check.py",
    "python3 check.py; for",
]
FILES = {"check.py": "import main", "main.py": "", "sub/other.py": ""}


@pytest.mark.parametrize("run", [*RUNS, *ONCE])
def test_a_check_that_the_command_names_is_protected_and_the_work_is_not(run: str) -> None:
    for command in [wrapper.format(run) for wrapper in WRAPPERS] if run in RUNS else [run]:
        found = protect(command, FILES)
        paths = {file.path for file in found.files}
        assert "check.py" in paths, command
        assert "main.py" not in paths or command.endswith("; for"), command
        assert not found.is_unclear, command


COMPARISONS = [
    "python3 main.py | diff - expected.txt",
    "python3 main.py | sort | diff expected.txt -",
    "python3 main.py | cmp -s - expected.txt",
    "diff <(python3 main.py) expected.txt",
    "diff <(python3 main.py | sort) <(sort expected.txt)",
    "diff -u expected.txt <(python3 main.py)",
    "python3 main.py > out.txt && diff out.txt expected.txt",
    "python3 main.py > out.txt; cmp out.txt expected.txt",
    "python3 main.py | tee out.txt; diff -q out.txt expected.txt",
    "python3 main.py --output out.txt && diff out.txt expected.txt",
    'test "$(python3 main.py)" = "$(cat expected.txt)"',
    '[ "$(python3 main.py)" = "$(cat expected.txt)" ]',
    "[[ $(python3 main.py) == $(cat expected.txt) ]]",
    '[[ "$(python3 main.py)" == "$(<expected.txt)" ]]',
    '[ "$(cat expected.txt)" = "$(python3 main.py | tail -n 1)" ]',
    'out=$(python3 main.py); want=$(cat expected.txt); [ "$out" = "$want" ]',
    "python3 main.py | grep -qxFf expected.txt",
    "python3 main.py | grep -q -f expected.txt",
    'python3 main.py | grep -qF "$(cat expected.txt)"',
    "python3 main.py | comm -3 - expected.txt",
    "git diff --no-index --exit-code out.txt expected.txt",
    "diff out.txt expected.txt",
    "cat out.txt | diff - expected.txt",
    "cmp -s expected.txt out.txt",
    'test "$(cat out.txt)" = "$(cat expected.txt)"',
    '[ "$(sha256sum < out.txt)" = "$(sha256sum < expected.txt)" ]',
    '[ "$(md5sum out.txt | cut -c1-32)" = "$(md5sum expected.txt | cut -c1-32)" ]',
    'diff expected.txt - <<< "$(python3 main.py)"',
    "python3 main.py | diff -w - ./expected.txt",
    "python3 main.py | diff - /workspace/expected.txt",
    "python3 main.py | diff - expec*.txt",
    "python3 main.py | dos2unix | diff --strip-trailing-cr - expected.txt",
    'case "$(python3 main.py)" in "$(cat expected.txt)") true;; *) false;; esac',
    "python3 main.py < expected.txt | grep -q 42",
    "python3 main.py | xargs -0 printf %s | diff - expected.txt",
    "frobdiff <(python3 main.py) expected.txt",
    "python3 -c \"assert open('out.txt').read() == open('expected.txt').read()\"",
    'python3 main.py | while read l; do grep -q "$l" expected.txt; done',
    "(cd sub; python3 ../main.py) | diff - expected.txt",
    'f=expected.txt; python3 main.py | diff - "$f"',
    "for n in expected; do python3 main.py | diff - $n.txt || exit 1; done",
    "python3 main.py | cat -A | diff - <(cat -A expected.txt)",
    "sha256sum -c expected.txt",
    "md5sum -c expected.txt",
    "python3 main.py | awk -f expected.txt",
]
DATA = {"main.py": "", "expected.txt": "", "out.txt": "", "sub/x.py": ""}


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_what_is_compared_with_is_protected_and_what_is_compared_is_not(comparison: str) -> None:
    wrappers = [wrapper for wrapper in WRAPPERS if wrapper not in PREFIXES]
    fitting = [
        w
        for w in wrappers
        if not ("'" in w and "'" in comparison) and not ('"' in w and re.search('["$]', comparison))
    ]
    for command, opened in itertools.product(
        [w.format(comparison) for w in fitting], (set(DATA), {"main.py"})
    ):
        paths = {file.path for file in protect(command, DATA, opened=opened).files}
        assert "expected.txt" in paths, command
        assert "main.py" not in paths, command
        assert "out.txt" not in paths or "out.txt" not in command, command


WORK = [
    "mypy main.py",
    "mypy --strict main.py lib/",
    "python3 -m mypy main.py",
    "ruff check main.py && ruff format --check main.py",
    "ruff check .",
    "flake8 main.py lib",
    "python3 -m py_compile main.py",
    "python3 -m compileall main.py",
    "black --check main.py",
    "uvx ruff check main.py",
    "npx eslint main.py",
    "test -f main.py",
    "[ -s main.py ]",
    "[[ -x main.py ]] && test -r main.py",
    "grep -q 'def main' main.py",
    "! grep -n TODO main.py",
    "! grep -rn TODO --include='*.py' .",
    "! grep -rn --include=main.py --exclude=*.txt TODO",
    "cat main.py | grep -q def",
    "wc -l main.py",
    "[ $(wc -l < main.py) -lt 100 ]",
    "gcc -o prog main.py && ./prog | grep -q 42",
    'test "$(python3 main.py)" = 42',
    '[ "$(python3 main.py 3)" -eq 9 ]',
    "python3 main.py | grep -q Fizz",
    "python3 main.py | tail -1 | grep -q 42",
    "python3 main.py > o; grep -q 42 o",
    "r=$(python3 main.py); [[ $r =~ ^4 ]]",
    "case $(python3 main.py) in 42) ;; *) exit 1;; esac",
    "python3 main.py | jq -e '.a == 1'",
    "find . -name 'main.py' | xargs mypy",
    "for f in *.py; do python3 -m py_compile $f; done",
    "pytest -q && mypy main.py",
    "pytest --cov=lib --cov-report=term",
    "pytest --doctest-modules main.py",
    "python3 -m doctest main.py",
    "python3 -m unittest discover -s lib",
    "pytest lib",
    "pytest lib tests",
    "python3 -m pytest tests -k main.py",
    "chmod +x main.py && ./main.py | diff - expected.txt",
    "python3 -c 'import main; assert main.f() == 1'",
    "python3 -c 'from main import f; assert f(3) == 9'",
    "shellcheck main.py",
    "cp main.py /tmp && python3 -m py_compile /tmp/main.py",
    "python3 -m pylint main.py --rcfile=x.ini",
    "make test",
    "npm test",
    "go test ./lib/...",
    "cargo test --lib",
    "tsc --noEmit main.py",
    "node --check main.py",
    "prettier --check main.py",
    "sed -n 1p main.py | grep -q '^#!'",
    "awk 'NR>100{exit 1}' main.py",
    "diff <(python3 main.py) <(printf '1\\n2\\n')",
    "python3 main.py | diff - <(seq 3)",
    "printf '1\\n2\\n' | diff - <(python3 main.py)",
    "python3 main.py <<< 3 | grep -q 9",
    "echo 3 | python3 main.py | grep -qx 9",
    "sh -c 'python3 main.py | grep -q 42'",
]


@pytest.mark.parametrize("command", WORK)
def test_the_work_that_an_ordinary_command_names_is_left_alone(command: str) -> None:
    files = {
        "main.py": "",
        "lib/__init__.py": "",
        "lib/core.py": "",
        "tests/test_a.py": "",
        "Makefile": "test:\n\tpytest\n",
    }
    found = protect(command, files)
    assert not {"main.py", "lib/core.py"} & {file.path for file in found.files}
    assert not found.is_unclear


OUTCOMES = [
    ("Fix fizz.py", True),
    ("Make `fizz.py` print the right words, so that the command passes.", True),
    ("fizz.py should print as in expected.txt", True),
    ("Make fizz.py match expected.txt.", True),
    ("In fizz.py, the third branch is wrong", True),
    ("Make fizz.py pass the tests", True),
    ("Make fizz.py pass.", False),
    ("so that fizz.py passes", False),
    ("until fizz.py succeeds", False),
    ("according to fizz.py", False),
    ("as described in fizz.py", False),
    ("whatever fizz.py checks", False),
    ("Make it work", False),
]


@pytest.mark.parametrize(("outcome", "is_work"), OUTCOMES)
def test_a_file_that_the_outcome_names_is_the_work_unless_it_is_spoken_of_as_the_judge(
    outcome: str, is_work: bool
) -> None:
    files = {"fizz.py": "", "lib.py": "", "expected.txt": ""}
    assert ("fizz.py" not in protected("python3 fizz.py", files, outcome=outcome)) == is_work
    assert "expected.txt" in protected(
        "python3 fizz.py | diff - expected.txt", files, outcome="Change expected.txt"
    )


@pytest.mark.parametrize(
    ("command", "files", "judges"),
    [
        ("gcc check.c sol.c -o t && ./t", {"check.c": "", "sol.c": ""}, {"check.c"}),
        ("javac *.java && java Check", {"Check.java": "", "Main.java": ""}, {"Check.java"}),
        (
            "python3 -m pytest checks/",
            {"checks/t.py": "", "checks/helper.py": "", "a.py": ""},
            {"checks/t.py", "checks/helper.py"},
        ),
        ("go run ./cmd/check", {"cmd/check/main.go": "", "lib.go": ""}, {"cmd/check/main.go"}),
        (
            "just test",
            {"justfile": "test a='x': build\n    node check.js {{a}}\nbuild:\n", "check.js": "", "a.js": ""},
            {"justfile", "check.js"},
        ),
        (
            "tox",
            {"tox.ini": "[testenv]\ncommands =\n    python check.py\n", "check.py": "", "a.py": ""},
            {"tox.ini", "check.py"},
        ),
        (
            "rake test",
            {"Rakefile": "task :test do\n  sh 'ruby check.rb'\nend\n", "check.rb": "", "a.rb": ""},
            {"Rakefile", "check.rb"},
        ),
        (
            "./test",
            {"test": "#!/bin/sh\npython3 judge.py\n", "judge.py": "", "a.py": ""},
            {"test", "judge.py"},
        ),
        (
            "python3 check.py",
            {"check.py": "from oracle import f", "oracle.py": "", "a.py": ""},
            {"check.py", "oracle.py"},
        ),
        (
            "for f in c/*.in; do ./a.py < $f | diff - ${f%.in}.out; done",
            {"a.py": "", "c/1.in": "", "c/1.out": ""},
            {"c/1.in", "c/1.out"},
        ),
    ],
)
def test_judges_in_other_shapes_are_found(command: str, files: dict[str, str], judges: set[str]) -> None:
    assert protected(command, files) == judges


def test_a_test_stays_protected_whatever_the_outcome_names() -> None:
    assert "tests/test_a.py" in protected(
        "pytest", {"tests/test_a.py": "", "a.py": ""}, outcome="Fix tests/test_a.py"
    )


@pytest.mark.parametrize(
    ("files", "opened", "outcome", "is_unclear"),
    [
        ({"main.py": ""}, {"main.py"}, "", True),
        ({"main.py": ""}, {"main.py"}, "Fix main.py", False),
        ({"main.py": ""}, set[str](), "", False),
        ({}, set[str](), "", False),
        ({"main.py": "", "lib.py": ""}, {"main.py", "lib.py"}, "", False),
        ({"main.py": "", "data.csv": ""}, {"main.py", "data.csv"}, "", True),
        ({"main.py": ""}, {"main.py"}, "Write new.py", False),
    ],
)
def test_where_nothing_that_was_opened_is_left_for_the_work_it_is_unclear(
    files: dict[str, str], opened: set[str], outcome: str, is_unclear: bool
) -> None:
    assert protect("python3 main.py", files, outcome=outcome, opened=opened).is_unclear == is_unclear


@pytest.mark.parametrize(
    "command",
    [
        "cat in.md | python3 main.py | diff - expected.txt",
        "python3 main.py < in.md | cmp - expected.txt",
        "cat in.md | tr a b | python3 main.py | grep -q 3",
        "python3 main.py <<< $(cat in.md) | jq -e .a",
    ],
)
def test_what_is_fed_to_the_work_is_the_check(command: str) -> None:
    files = {"main.py": "", "in.md": "", "expected.txt": ""}
    assert {"in.md"} <= protected(command, files) <= {"in.md", "expected.txt"}


@pytest.mark.parametrize(
    "command",
    [
        "cat a > b; cat b > a; cat a b | python3 main.py",
        " | ".join(["cat a"] * 300),
        " | ".join(["{ cat; cat; }"] * 40) + " | python3 main.py",
        "; ".join(f"x{n}=$x{n - 1}$(cat a)$x{n - 1}" for n in range(1, 60)) + "; test $x59 = b",
        "$(" * 40 + "a" + ")" * 40,
    ],
)
def test_circles_and_long_ways_end(command: str) -> None:
    protect(command, {"a": "", "b": "", "main.py": ""})


TESTED = {"fizz.py": "", "tests/test_fizz.py": ""}


@pytest.mark.parametrize(
    ("command", "files", "left"),
    [
        ("python3 fizz.py && python3 -m pytest -q", TESTED, ("fizz.py",)),
        ("make t", {**TESTED, "Makefile": "t:\n\tpython3 fizz.py\n\tpytest\n"}, ("fizz.py",)),
        ("python3 check.py && pytest", {"check.py": "", "tests/test_fizz.py": ""}, ()),
        ("python3 run.py && pytest", {**TESTED, "run.py": ""}, ("fizz.py",)),
        ("make t", {"fizz.py": "", "Makefile": "t:\n\tpython3 fizz.py\n"}, ()),
    ],
)
def test_a_script_beside_tests_is_the_work_where_nothing_else_is_left(
    command: str, files: dict[str, str], left: tuple[str, ...]
) -> None:
    assert protect(command, files).work_left == left


@pytest.mark.parametrize(
    ("command", "files", "is_work"),
    [
        ("python3 a.py > /tmp/out; python3 b.py", {}, True),
        ("bash run.sh", {"run.sh": "python3 a.py | sort >> out.txt\npython3 b.py\n"}, True),
        ("make", {"Makefile": "t: o\n\tpython3 b.py\no: a.py\n\t@python3 a.py > $@\n"}, True),
        ("npm test", {"package.json": '{"scripts": {"pretest": "node a.py >o", "test": "node b.py"}}'}, True),
        ("timeout 9 python3 a.py >| out && pytest", {}, True),
        ("python3 a.py > /dev/null; python3 b.py", {}, False),
        ("python3 a.py 2> err; python3 b.py", {}, False),
        ("python3 a.py > run.log; python3 b.py", {}, False),
        ("python3 a.py > out; cat out", {}, False),
        ("python3 a.py > out; exit $?", {}, False),
    ],
)
def test_a_script_whose_output_goes_to_a_file_for_what_follows_is_the_work(
    command: str, files: dict[str, str], is_work: bool
) -> None:
    found = protected(command, {"a.py": "", "b.py": "", "lib.py": "", **files})
    assert ("a.py" not in found) == is_work
    assert "b.py" in found or "b.py" not in command


def test_data_that_was_opened_is_protected_and_templates_are_not() -> None:
    files = {
        "app.py": "",
        "cases.csv": "",
        "page.html": "",
        "q.sql": "",
        "x.lock": "",
        "run": "#!/bin/sh",
        "raw": "a",
    }
    assert protected("pytest -q", files) == {"cases.csv", "x.lock", "raw"}
    assert protect("pytest -q", files).work_left == ("app.py", "page.html", "q.sql", "run")


def test_work_turns_it_round() -> None:
    files = {"a.py": "", "b.py": "", "tests/t.py": "", "check.py": ""}
    tree = Tree(entries=tuple(TreeEntry(path=path, kind="file", sha256=path) for path in sorted(files)))

    def paths(*, work: Sequence[str], protect: Sequence[str] = (), unprotect: Sequence[str] = ()) -> set[str]:
        return {
            file.path
            for file in protection_of(
                tree, "python check.py", opened=files.keys(), work=work, protect=protect, unprotect=unprotect
            ).files
        }

    assert paths(work=("a.py",)) == {"b.py", "tests/t.py", "check.py"}
    assert paths(work=("a.py", "tests/", "check.py")) == {"b.py", "tests/t.py"}
    assert paths(work=("a.py",), protect=("a.py",)) == {"a.py", "b.py", "tests/t.py", "check.py"}
    assert paths(work=("a.py",), protect=("a.py", "b.py"), unprotect=("a.py", "b.py")) == {
        "tests/t.py",
        "check.py",
    }


PROJECTS = [
    ("pytest -q", "src/flask/app.py"),
    ("python -m pytest tests", "requests/models.py"),
    ("tox -e py311", "attr/_make.py"),
    ("python manage.py test polls", "polls/views.py"),
    ("python runtests.py --settings=test_sqlite", "django/db/models/base.py"),
    ("nox -s tests", "urllib3/util/url.py"),
    ("hatch run test:all", "src/hatch/cli.py"),
    ("poetry run pytest tests/unit", "poetry/core/factory.py"),
    ("make check", "lib/url.c"),
    ("./configure && make && make check", "src/main.c"),
    ("make -C tests run", "jq/src/parser.y"),
    ("cmake -B build && cmake --build build && ctest --test-dir build", "src/zlib.c"),
    ("meson setup build && meson test -C build", "src/systemd.c"),
    ("npm test", "lib/express.js"),
    ("npm run lint && npm test", "index.js"),
    ("yarn test --ci", "packages/react/src/React.js"),
    ("pnpm -r test", "packages/vite/src/node/server.ts"),
    ("npx jest src/foo", "src/foo/index.js"),
    ("npx mocha --require test/setup.js", "lib/mocha.js"),
    ("npx vitest run packages/core", "packages/core/src/index.ts"),
    ("npx tsc --noEmit -p tsconfig.json && node --test", "src/index.ts"),
    ("node --test test/", "lib/index.js"),
    ("npm ci && npm run build && npm test -- --coverage", "src/lodash.ts"),
    ("go test ./...", "internal/parser/parser.go"),
    ("go test ./internal/parser", "internal/parser/parser.go"),
    ("go vet ./... && go build ./cmd/tool && go test -race ./pkg/...", "pkg/x/x.go"),
    ("cargo test --workspace --all-features", "crates/regex/src/lib.rs"),
    ("cargo clippy -- -D warnings && cargo fmt --check", "src/main.rs"),
    ("mvn -q test", "src/main/java/org/App.java"),
    ("./gradlew test", "app/src/main/kotlin/App.kt"),
    ("bundle exec rspec spec/models", "app/models/user.rb"),
    ("bundle exec rake test", "lib/rack/request.rb"),
    ("vendor/bin/phpunit --configuration phpunit.xml", "src/Kernel.php"),
    ("composer test", "src/Monolog/Logger.php"),
    ("mix test", "lib/plug/conn.ex"),
    ("sbt test", "src/main/scala/Main.scala"),
    ("dotnet test", "src/Lib/Class.cs"),
    ("swift test", "Sources/Lib/lib.swift"),
    ("prove -lr t", "lib/Moo.pm"),
    ("bats test/", "bin/tool.sh"),
    ("python -m unittest discover -s tests -t .", "mypkg/core.py"),
    ("pytest sympy/core", "sympy/core/add.py"),
    ("mypy src && ruff check src tests && pytest --cov=src", "src/pkg/mod.py"),
    ("PYTHONPATH=src python -m pytest -x --tb=short", "src/pkg/mod.py"),
    ("coverage run -m pytest && coverage report --fail-under=90", "pkg/mod.py"),
    ("bash -lc 'source venv/activate && pytest'", "pkg/mod.py"),
]


@pytest.mark.parametrize(("command", "path"), PROJECTS)
def test_the_work_of_well_known_projects_is_not_protected(command: str, path: str) -> None:
    files = {
        path: "",
        "tests/test_x.py": "",
        "Makefile": "check:\n\t./run-tests.sh\nrun:\n\tpython main.py\n",
        "other.txt": "",
    }
    files |= {
        "package.json": '{"scripts": {"test": "mocha", "start": "node index.js", "lint": "eslint ."}}',
        "README.md": "",
    }
    found = protect(command, files)
    assert path in found.work_left
    assert not found.is_unclear


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([*RUNS[:12], *COMPARISONS[:18], *WORK[:30]]), min_size=1, max_size=4),
    st.sampled_from(["; ", " && ", " || ", "\n"]),
)
def test_checks_are_found_among_other_commands(commands: list[str], separator: str) -> None:
    files = {**FILES, **DATA, "lib/core.py": ""}
    paths = protected(separator.join(commands), files)
    for command in commands:
        assert "check.py" not in command or "check.py" in paths
        assert "expected.txt" not in command or "expected.txt" in paths
    assert "lib/core.py" not in paths


@given(st.text(alphabet="ab/.*?'\"\\$(){}`;|&<>\n#=-!~[] 0", max_size=60))
def test_no_command_makes_it_stumble(text: str) -> None:
    protect(text, {"a": "b", "b.py": "a", "a.b/a": ""})
