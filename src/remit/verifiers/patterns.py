"""The shipped list of what is a test, a test's configuration, or a thing that decides how tests run.

Written like a .gitignore: a name without a slash matches in every folder, a leading slash means the root, a trailing one
a folder with all that is in it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from remit.errors import InvalidRequest

if TYPE_CHECKING:
    import pathspec

_LIST = {
    "any language": """
        tests/ test/ /spec/ __tests__/ __mocks__/ __snapshots__/ testdata/ test_data/ e2e/ run_tests* run-tests*
        runtests* test.sh tests.sh Makefile makefile GNUmakefile justfile Justfile .justfile Taskfile.yml
        Taskfile.yaml .env.test codecov.yml .codecov.yml *.mk BUILD BUILD.bazel WORKSPACE WORKSPACE.bazel MODULE.bazel
        .bazelrc SConstruct SConscript wscript .pre-commit-config.yaml .editorconfig .ecrc .editorconfig-checker.json
        .megalinter.yml .codespellrc typos.toml _typos.toml .typos.toml .yamllint .yamllint.yml .yamllint.yaml
        .markdownlint.* .markdownlint-cli2.* .hadolint.yaml .shellcheckrc .vale.ini .textlintrc* .sqlfluff
        .semgrep.yml .semgrepignore .gitlab-ci.yml .travis.yml azure-pipelines.yml Jenkinsfile /.github/workflows/
        /.circleci/ .ansible-lint .tflint.hcl buf.yaml .spectral.* .commitlintrc* commitlint.config.*
        sonar-project.properties .trivyignore .gitleaks.toml lefthook.yml .cspell.json cspell.json cspell.config.*
        dprint.json .jscpd.json *.mak magefile.go tup.ini Tupfile""",
    "Python": """
        test_*.py *_test.py tests.py conftest.py pytest.ini .pytest.ini pytest.toml .pytest.toml tox.ini tox.toml
        setup.cfg pyproject.toml noxfile.py .coveragerc .python-version sitecustomize.py usercustomize.py
        usercustomize/ pyvenv.cfg *.pth *.dist-info/ *.egg-info/ *.egg-link site-packages/ /.venv/ /venv/
                
           mypy.ini .mypy.ini ruff.toml .ruff.toml .flake8 .pylintrc pylintrc
        .pylintrc.toml pylintrc.toml pyrightconfig.json .isort.cfg .style.yapf .yapfignore .bandit bandit.yaml
        .pydocstyle .pydocstyle.ini pycodestyle.cfg .pre-commit-hooks.yaml .pyre_configuration pyrefly.toml ty.toml
        .importlinter .vulture.ini pdm.toml hatch.toml pixi.toml behave.ini .behaverc nose2.cfg .noserc
         interrogate.toml .darglint .pytype.cfg pytype.toml basedpyright.json .ward.toml
        sitecustomize/""",
    "JavaScript": """
        *.test.js *.test.jsx *.test.ts *.test.tsx *.test.mjs *.test.cjs *.test.mts *.test.cts *.test.vue *.spec.js
        *.spec.jsx *.spec.ts *.spec.tsx *.spec.mjs *.spec.cjs *.spec.mts *.spec.cts *.snap *.cy.js *.cy.ts cypress/
        package.json jest.config.* jest.setup.* jest.preset.* vitest.config.* vitest.setup.* vitest.workspace.*
        vite.config.* karma.conf.* cypress.config.* playwright.config.* wdio.conf.* ava.config.* babel.config.*
        .babelrc .babelrc.* .mocharc.* .nycrc .nycrc.* .c8rc.json .npmrc .yarnrc .yarnrc.yml .pnp.* deno.json
        deno.jsonc bunfig.toml node_modules/ tsconfig*.json jsconfig*.json eslint.config.* .eslintrc .eslintrc.*
        .eslintignore biome.json biome.jsonc .biome.json* rome.json .prettierrc .prettierrc.* prettier.config.*
        .prettierignore .stylelintrc .stylelintrc.* stylelint.config.* .stylelintignore .swcrc .swcrc.* tslint.json
        .jshintrc .jshintignore .jscsrc .xo-config* xo.config.* .htmlhintrc .htmllintrc .remarkrc* .oxlintrc.json
        webpack.config.* webpack.*.js rollup.config.* esbuild.config.* esbuild.mjs rspack.config.* rsbuild.config.*
        tsup.config.* parcel.config.* .parcelrc turbo.json nx.json lerna.json project.json pnpm-workspace.yaml
        .pnpmfile.cjs svelte.config.* vue.config.* next.config.* nuxt.config.* astro.config.* angular.json Gruntfile.*
        Gulpfile.* gulpfile.* jasmine.json .taprc .tapr* nightwatch.conf.* .testcaferc.* knip.json
        .lintstagedrc* lint-staged.config.* .depcheckrc .size-limit.* rustywind.toml postcss.config.* .postcssrc*
        .browserslistrc .node-version .nvmrc .cjsrc .tap/ jest-*.config.*""",
    "compiled languages": """
        *_test.go go.mod go.work Cargo.toml .cargo/ rust-toolchain rust-toolchain.toml build.rs *_test.rs *_tests.rs
        src/tests.rs benches/ *Test.java *Tests.java *TestCase.java *IT.java *Test.kt *Tests.kt *Spec.kt *Test.scala
        *Spec.scala *Test.groovy *Spec.groovy pom.xml .mvn/ build.gradle build.gradle.kts settings.gradle
        settings.gradle.kts gradle.properties gradle/wrapper/ gradlew mvnw build.sbt *Tests.cs *Test.cs *.Tests/
        *.Test/ *.runsettings Directory.Build.props Directory.Build.targets *_test.c *_test.cc *_test.cpp
        *_unittest.cc *_unittest.cpp test_*.c test_*.cc test_*.cpp CMakeLists.txt CTestConfig.cmake CTestCustom.cmake
        CTestTestfile.cmake meson.build *Tests.swift *Test.swift Package.swift *_test.dart pubspec.yaml dart_test.yaml
        *_test.zig build.zig go.work.sum /vendor/ .golangci.y*ml .golangci.toml .golangci.json staticcheck.conf
        revive.toml clippy.toml .clippy.toml rustfmt.toml .rustfmt.toml deny.toml nextest.toml .config/nextest.toml
        Cross.toml .clang-tidy .clang-format .clangd CPPLINT.cfg .cppcheck* .gcovr.cfg gcovr.cfg
        .uncrustify.cfg CMakePresets.json CMakeUserPresets.json conanfile.* vcpkg.json meson_options.txt meson.options
        checkstyle*.xml .checkstyle pmd*.xml spotbugs*.xml findbugs*.xml lombok.config junit-platform.properties
        detekt*.y*ml .ktlint* scalafmt.conf .scalafmt.conf .scalafix.conf .scalastyle* scalastyle*.xml
        libs.versions.toml .swiftlint.yml .swiftformat global.json nuget.config NuGet.Config
        .globalconfig *.ruleset stylecop.json xunit.runner.json analysis_options.yaml analysis_options.yml
        build.zig.zon *.nimble *.gpr alire.toml fpm.toml shard.yml""",
    "scripting languages": """
        *_spec.rb *_test.rb test_*.rb spec_helper.rb rails_helper.rb test_helper.rb .rspec Rakefile Gemfile .bundle/
        *Test.php *Cest.php *.phpt phpunit.xml phpunit.xml.dist phpunit.dist.xml composer.json codeception.yml
        *_test.exs test_helper.exs mix.exs *_test.erl *_SUITE.erl rebar.config *_spec.lua .busted *.bats *.t test-*.R
        DESCRIPTION *_test.jl runtests.jl *_test.clj deps.edn project.clj *Spec.hs *.cabal *_test.ml dune Gemfile.lock
        .rubocop.yml .rubocop_todo.yml .rubocop/ .reek.yml .standard.yml .ruby-version .simplecov Guardfile .irbrc
        sorbet/ phpstan*.neon* psalm*.xml* phpcs*.xml* .phpcs.xml* .php-cs-fixer* .php_cs* phpmd*.xml rector.php
        grumphp.yml pest.php Pest.php infection.json* phpbench.json .perlcriticrc .perltidyrc .proverc dist.ini
        cpanfile Makefile.PL Build.PL .luacheckrc .luarc.json selene.toml stylua.toml .stylua.toml .credo.exs
        .formatter.exs .dialyzer* elvis.config .lintr .Rprofile Project.toml .JuliaFormatter.toml
        .clj-kondo/ tests.edn bb.edn .hlint.yaml hlint.yaml stack.yaml cabal.project* package.yaml .ormolu
        dune-project .ocamlformat elm.json tests.el Cask Eask .bashunit* .shellspec spago.* psc-package.json
        *.rockspec""",
}
SHIPPED: tuple[str, ...] = tuple(line for group in _LIST.values() for line in group.split())
_NAMES = frozenset(line for line in SHIPPED if re.fullmatch(r"[\w.+-]+", line))
_FOLDERS = frozenset(line[:-1] for line in SHIPPED if re.fullmatch(r"[\w.+-]+/", line))
"""Plain names are looked up: as expressions they would take most of a second for a thousand files."""
_GLOBS = tuple(line for line in SHIPPED if line not in _NAMES and line[:-1] not in _FOLDERS)

DERIVED: tuple[str, ...] = ("__pycache__/", "*.pyc", "*.pyo", ".pytest_cache/")
"""What an interpreter makes of sources by itself. Bytecode beside a protected source would run in its place, so what was
not in the input like this never reaches a verification."""


class ProtectedPatterns:
    """The shipped list with what a person added and released. Releasing wins."""

    def __init__(
        self,
        *,
        protect: Sequence[str] = (),
        unprotect: Sequence[str] = (),
        work: Sequence[str] = (),
        globs: Sequence[str] = (),
    ) -> None:
        """`globs` are those of `Protection`, by which a command names its check. Raises InvalidRequest for a glob that is
        none."""
        self.protect = tuple(protect)
        self.unprotect = tuple(unprotect)
        self.work = tuple(work)
        self._shipped = _one_expression(_GLOBS)
        self._derived = _one_expression(DERIVED)
        self._protect = globs_of(self.protect, field="protect")
        self._unprotect = globs_of(self.unprotect, field="unprotect")
        self._work = globs_of(self.work, field="work")
        self._named = globs_of(globs, field="protect")

    def why(self, path: str, *, is_folder: bool = False) -> str | None:
        """Why this path is protected, or None."""
        subject = f"{path}/" if is_folder else path
        if self.is_released(path, is_folder=is_folder):
            return None
        parts = subject.split("/")
        is_listed = not _NAMES.isdisjoint(parts) or not _FOLDERS.isdisjoint(parts[:-1])
        if is_listed or self._shipped.match(subject):
            return "a test or its configuration"
        if self._protect.match_file(subject):
            return "--protect"
        if self.is_outside_work(path, is_folder=is_folder):
            return "not among --work"
        return "named in the command" if self._named.match_file(subject) else None

    def is_outside_work(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a person named the work, and this path is none of it."""
        return bool(self.work) and not is_folder and not self._work.match_file(path)

    def is_released(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a person released this path."""
        return self._unprotect.match_file(f"{path}/" if is_folder else path)

    def is_derived(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether this is bytecode or a cache."""
        return self._derived.match(f"{path}/" if is_folder else path) is not None


def globs_of(globs: Sequence[str], *, field: str) -> pathspec.GitIgnoreSpec:
    """Return what tells whether one of the globs matches a path. Raises InvalidRequest, naming the field."""
    import pathspec  # not at the start, which it would make longer

    for glob in globs:
        if not glob.strip() or glob.startswith(("!", "#")):
            raise InvalidRequest(
                f"{field}: {glob!r} is no glob: it must not be empty or begin with ! or #. Write it like a line of a "
                ".gitignore, e.g. 'tests/' or 'src/**/*_test.py'."
            )
    try:
        return pathspec.GitIgnoreSpec.from_lines(globs)
    except ValueError as error:
        raise InvalidRequest(f"{field}: not a glob: {error}") from error


@functools.cache
def _one_expression(globs: tuple[str, ...]) -> re.Pattern[str]:
    """All globs as one regular expression: with some 200 of them, ten times faster than one after the other."""
    import pathspec

    parts: list[str] = []
    for pattern in pathspec.GitIgnoreSpec.from_lines(globs).patterns:
        expression = getattr(pattern, "regex", None)
        assert isinstance(expression, re.Pattern)
        text: object = expression.pattern  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - getattr
        assert isinstance(text, str)
        parts.append(re.sub(r"\(\?P<\w+>", "(?:", text))
    return re.compile("|".join(parts))
