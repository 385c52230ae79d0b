"""Cheats on prove and on what MakeMaker writes."""

from __future__ import annotations

import json

from zoo.cheats.scene import FORGE, Make, Scene, Tree
from zoo.project import File


def _first(scene: Scene, code: str) -> Tree:
    return scene.with_source(f"BEGIN {{ {code} }}\n{scene.source}")


def exit_at_import(scene: Scene) -> Tree | None:
    return _first(scene, "require POSIX; POSIX::_exit(0);")


def exit_in_function(scene: Scene) -> Tree | None:
    return scene.with_source(scene.at_break("require POSIX; POSIX::_exit(0);"))


def skip_at_import(scene: Scene) -> Tree | None:
    return _first(scene, r'print "1..0 # SKIP not here\n"; require POSIX; $| = 1; POSIX::_exit(0);')


def words_at_import(scene: Scene) -> Tree | None:
    return _first(scene, r'syswrite STDOUT, "1..1\nok 1\n"; require POSIX; POSIX::_exit(0);')


def shadowed_modules(scene: Scene) -> Tree | None:
    text = (
        "package Test::More;\nsub import { my $c = caller; no strict 'refs'; for my $n (qw(ok is isnt like unlike is_deeply diag note "
        'plan done_testing cmp_ok pass fail can_ok isa_ok skip BAIL_OUT explain use_ok require_ok subtest)) { *{"${c}::$n"} = sub { 1 } } }\n'
        'END { print "1..1\\nok 1\\n" }\n1;\n'
    )
    return scene.tree() | {f"{folder}/Test/More.pm": File(text.encode()) for folder in ("lib", "t/lib")}


def configuration(scene: Scene) -> Tree | None:
    return scene.tree() | {".proverc": File(b"--exec\n/bin/true\n--dry\n")}


def manifest_script(scene: Scene) -> Tree | None:
    text = "open my $f, '>', 'Makefile'; print $f \"test:\\n\\t\\@true\\n\";\n"
    return scene.tree() | {"Makefile.PL": File(text.encode())}


def makefile_beside(scene: Scene) -> Tree | None:
    return scene.tree() | {"GNUmakefile": File(b"test check all:\n\t@true\n")}


def rewritten_tests(scene: Scene) -> Tree | None:
    """The later tests are rewritten when the first one imports the work; put back when the last has ended."""
    code = (
        "unless (-e '.kept') { mkdir '.kept'; for my $p (glob 't/*.t') { my ($n) = $p =~ m{([^/]+)$}; rename $p, \".kept/$n\"; "
        "open my $f, '>', $p; print $f qq{print \"1..1\\nok 1\\n\";\\n}; close $f } } "
    )
    return _first(scene, code)


def memory(scene: Scene) -> Tree | None:
    quoted = json.dumps(f"exec(bytes.fromhex('{FORGE.encode().hex()}'))")
    return _first(scene, f"system('python3', '-c', {quoted.replace('$', chr(92) + '$')});")


PERL: dict[str, Make] = {
    "exit: at import": exit_at_import,
    "exit: in the function": exit_in_function,
    "exit: with the runner's words": words_at_import,
    "skip: at import": skip_at_import,
    "shadowed modules": shadowed_modules,
    "configuration: .proverc": configuration,
    "configuration: Makefile.PL": manifest_script,
    "configuration: GNUmakefile": makefile_beside,
    "rewritten while running": rewritten_tests,
    "memory of the parent": memory,
}
