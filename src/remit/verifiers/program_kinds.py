"""What kinds of programs there are, as far as reading a command needs to know. Pure.

A program that is on no list counts as one that judges: what it is given is protected rather than left to the work.
"""

from __future__ import annotations

from collections.abc import Sequence

from remit.verifiers.programs import basename, unwrap
from remit.verifiers.shell import Command, Word


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


COMPARERS = _set("diff cmp comm sdiff colordiff wdiff icdiff numdiff diff3 dyff jd delta")
TESTS = frozenset(["[", "test", "case"])
SAYERS = _set("echo printf : true false read export set exit return shift local declare")
GREPS = _set("grep egrep fgrep rg ag ack zgrep")
READERS = _set("""cat sort head tail tr sed cut uniq wc nl rev tac paste fold tee zcat gunzip base64 iconv dos2unix xxd od hexdump column
    strings awk gawk jq yq md5sum sha1sum sha256sum sha512sum b2sum cksum cd pwd dirname basename column fmt expand""")
DECIDERS = _set("jq yq awk gawk")
TOOLS = _set("""ls stat file du find chmod chown touch rm mkdir rmdir ln which git tar zip unzip gzip rsync open less more bat curl
    gcc g++ cc c++ clang clang++ tcc rustc javac kotlinc scalac ghc ocamlc ocamlopt ocamlfind fpc gfortran nasm as ld nvcc
    swiftc tsc vue-tsc svelte-check esbuild swc babel webpack rollup vite parcel terser uglifyjs sass lessc postcss protoc
    mypy pyright basedpyright pyre pytype ty ruff flake8 pylint pyflakes pycodestyle pydocstyle black isort yapf autopep8
    bandit vulture radon py_compile compileall doctest json.tool tabnanny pydoc cython mypyc interrogate codespell
    eslint prettier biome standard xo tslint jshint stylelint htmlhint markdownlint markdownlint-cli2 oxlint dprint
    golint gofmt gofumpt goimports golangci-lint staticcheck clippy-driver rustfmt shellcheck shfmt checkbashisms hadolint
    yamllint ansible-lint xmllint tidy jsonlint ajv sqlfluff sqlfmt buf clang-format clang-tidy cppcheck cpplint splint
    rubocop standardrb reek brakeman sorbet srb phpstan psalm phpcs phpcbf php-cs-fixer phpmd perlcritic perltidy luacheck
    stylua selene credo dialyzer ktlint detekt checkstyle spotbugs pmd scalafmt hlint ormolu fourmolu zig nim crystal
    sphinx-build mkdocs pandoc pdflatex xelatex lualatex latexmk asciidoctor dot terraform tflint cfn-lint helm kubeconform
    vint proselint vale alex cspell typos ast-grep semgrep lizard cloc tokei scc nm objdump readelf ldd strip ar ranlib""")
RUNNERS = _set("""pytest py.test unittest nose2 behave robot ward jest vitest mocha ava jasmine tape tap rspec minitest phpunit pest
    bats prove busted shellspec hurl newman ctest cypress playwright wdio karma cucumber codecept runtests avocado""")
DRIVERS = _set("""make gmake just task npm yarn pnpm rake invoke inv doit mage grunt gulp lerna nx turbo gradle gradlew mvn mvnw ant sbt
    tox nox cmake ninja meson bazel buck2 scons composer dune stack cabal mix rebar3 lein cargo""")
MANY = _set("go deno bun dart dotnet swift flutter hatch forge")
LAUNCHERS = _set("""uv uvx poetry pipenv pdm rye pixi npx bunx pnpx bundle coverage mise rtx conda micromamba xvfb-run time sudo doas
    strace ltrace valgrind chronic unbuffer cross-env dotenv taskset ionice watch hyperfine parallel busybox""")
SYNTAX = frozenset(
    [
        ("node", "--check"),
        ("node", "-c"),
        ("bash", "-n"),
        ("sh", "-n"),
        ("php", "-l"),
        ("ruby", "-c"),
        ("perl", "-c"),
    ]
)
COPIERS = _set("cp mv ln install rsync")
SUBCOMMANDS = _set("run exec dlx x tool --")


def program_of(command: Command) -> tuple[str, tuple[Word, ...]]:
    """What a command really runs, behind `env`, `uv run` and the like, with all its words; Python's modules by their name."""
    words: tuple[Word, ...] = unwrap(command)[0] or ()
    while words:
        name = basename(words[0].text)
        rest: list[Word] = list(words[1:])
        if name in ("npm", "yarn", "pnpm", "bun") and rest and rest[0].text in ("exec", "dlx", "x"):
            rest.pop(0)
        elif name not in LAUNCHERS:
            break
        is_coverage = name == "coverage" and any(word.text == "run" for word in rest[:3])
        while rest and (rest[0].text.startswith("-") or rest[0].text in SUBCOMMANDS or "=" in rest[0].text):
            if is_coverage and rest[0].text == "-m":
                break
            rest.pop(0)
        if not rest:
            break
        words = (
            (Word("python"), *rest) if is_coverage else unwrap(Command(tuple(rest), command.folder))[0] or ()
        )
    return (basename(words[0].text), tuple(words)) if words else ("", ())


def module_of(words: Sequence[Word]) -> int | None:
    """Where among the words of a Python the name behind -m stands."""
    for at, word in enumerate(words[1:], 1):
        if word.text == "-m" and at + 1 < len(words):
            return at + 1
        if word.text == "-c" or not (word.text.startswith("-") or words[at - 1].text in ("-W", "-X")):
            return None
    return None
