"""The persistent shell."""

from __future__ import annotations

import asyncio

from remit.errors import SandboxRefused
from remit.testing.sandbox_checks.given import Bench, Hands, a_sandbox


async def check_shell_keeps_folder_variables_and_functions(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("mkdir inner; cd inner; x='a b'; f() { echo \"f:$1\"; }")
        result = await hands.shell('basename "$PWD"; echo "$x"; f 1')
        assert (result.exit_code, result.output) == (0, b"inner\na b\nf:1\n")


async def check_shell_reports_the_exit_code(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        assert (await hands.shell("(exit 7)")).exit_code == 7
        assert (await hands.shell("false | true")).exit_code == 0
        assert (await hands.shell("no-such-program-at-all")).exit_code == 127


async def check_shell_takes_quotes_newlines_and_non_utf8(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        result = await hands.shell("cat <<'END'\nit's \"x\" $y `z` \\ ü\nEND\nprintf '\\xff\\x00\\xfe'")
        assert result.output == 'it\'s "x" $y `z` \\ ü\n'.encode() + b"\xff\x00\xfe"


UNFINISHED = (
    "echo 'unclosed",
    'echo "abc',
    "echo $(ls",
    "echo `ls",
    "echo ${x",
    "echo $((1 + 2",
    "echo a)",
    "if true; then",
    "while true; do",
    "case x in",
    "f() {",
    "((1+",
    "[[ a",
    "}",
    "&& true",
    "for in do done",
    "x=(1 2",
    "echo it's; export FOO=lost",
)
"""What is no whole command: an error of its own, and no more."""

ENDINGS = (
    ("exit 3", 3),
    ("exit", 0),
    ("false; exit", 1),
    ("f() { exit 4; }; f; echo no", 4),
    ("set -e; false; echo no", 1),
    ("set -euo pipefail; false | true; echo no", 1),
    ("set -u; echo $NO_SUCH_NAME; echo no", 1),
    ("echo ${NO_SUCH_NAME?it is missing}; echo no", 1),
    ("exec true", 0),
    ("exec sh -c 'exit 9'", 9),
    ("exec no-such-program-at-all", 127),
    ("trap 'echo bye' EXIT; exit 5", 5),
    ("for x in 1 2; do exit 6; done", 6),
    ("kill -TERM $$; true", 0),
    ("source /dev/stdin <<< 'exit 8'", 8),
    ("(exit 7); exit", 7),
    ("set -n", 0),
    ("break 99; continue 99; return 2> /dev/null; true", 0),
)
"""What ends a shell that reads a script, and the exit code of the command."""

HARMLESS = (
    ("echo trailing\\", b"trailing\n"),
    ("cat <<EOF 2>/dev/null\nhere", None),
    ("exec > /dev/null 2>&1; echo unseen", b""),
    ("exec 5>&1; exec < /dev/null", b""),
    ("echo $((1/0)) 2>/dev/null", b""),
    ("set -x; true; set +x", None),
    ("printf 'a\\0b'", b"a\0b"),
    ("", b""),
    (" \n\n\t", b""),
    ("# only said", b""),
    ("echo \r", b"\r\n"),
    ("shopt -s extglob; echo !(x*)", None),
    ("cat", b""),
    ('read x; echo "<$x>"', b"<>\n"),
    ("echo '" + "x" * 900_000 + "' | wc -c", b"900001\n"),
)
"""What is odd and ends nothing; None: its output is not looked at."""


async def _check_it_goes_on(hands: Hands, typed: str) -> None:
    """Folder, variable, function, file descriptor's end and background process are there as they were."""
    after = await hands.shell(
        'basename "$PWD"; echo "$FOO"; kept; kill -0 $BACKGROUND && echo alive', seconds=10
    )
    assert after.output == b"inner\nkept\nf\nalive\n", (typed, after.output)
    assert after.exit_code == 0, typed


async def _begin(hands: Hands) -> None:
    await hands.shell(
        "mkdir inner; cd inner; export FOO=kept; kept() { echo f; }; sleep 1000 & BACKGROUND=$!"
    )


async def check_shell_outlives_what_is_no_whole_command(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await _begin(hands)
        for typed in UNFINISHED:
            result = await hands.shell(typed, seconds=10)
            assert result.exit_code in (1, 2), (typed, result.exit_code)
            assert result.output, typed
            assert b"__remit" not in result.output, (typed, result.output)
            await _check_it_goes_on(hands, typed)


async def check_shell_outlives_what_ends_a_shell(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await _begin(hands)
        for typed, code in ENDINGS:
            result = await hands.shell(f"echo before; {typed}", seconds=10)
            assert result.exit_code == code, (typed, result.exit_code, result.output)
            assert result.output.startswith(b"before\n"), (typed, result.output)
            assert b"no\n" not in result.output, (typed, result.output)
            await _check_it_goes_on(hands, typed)


async def check_shell_keeps_what_a_command_did_before_it_ended_the_shell(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("mkdir deep; cd deep; X=1; sleep 1000 & B=$!; exit 3")
        result = await hands.shell('basename "$PWD"; echo $X; kill -0 $B && echo alive; set -e')
        assert result.output == b"deep\n1\nalive\n"
        assert (await hands.shell("trap 'echo bye' EXIT; Y=2; false; echo no")).output == b"bye\n"
        assert (await hands.shell("echo $X $Y; wait; echo waited")).output == b"1 2\nwaited\n"


async def check_shell_takes_odd_commands(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await _begin(hands)
        for typed, output in HARMLESS:
            result = await hands.shell(typed, seconds=10)
            assert output is None or result.output.endswith(output), (typed[:80], result.output[:200])
            assert output != b"" or not result.output or b"division" in result.output, (typed, result.output)
            await _check_it_goes_on(hands, typed[:80])


async def check_shell_traces_what_was_typed_and_nothing_else(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await hands.shell("set -x")
        assert (await hands.shell("echo a")).output.lstrip(b"+") == b" echo a\na\n"
        await hands.shell("set +x")
        assert (await hands.shell("echo a")).output == b"a\n"


async def check_shell_refuses_what_no_command_can_hold(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        await _begin(hands)
        for typed in ("echo a\0b", "echo " + "x" * (2 << 20)):
            refused = ""
            try:
                await hands.shell(typed)
            except SandboxRefused as error:
                refused = error.message
            assert "a command has" in refused
            await _check_it_goes_on(hands, typed[:20])


async def check_shell_timeout_kills_the_whole_tree(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        command = "(setsid sleep 4711 &); (trap '' TERM HUP; sleep 4711) & sleep 4711"
        result = await hands.shell(command, seconds=0.5)
        assert (result.exit_code, result.is_timed_out) == (None, True)
        left = await hands.shell("grep -c . /dev/null; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
        assert b"sleep 4711" not in left.output


async def check_shell_ends_when_the_command_ends_not_at_pipe_eof(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        result = await hands.shell("sleep 1000 & echo started", seconds=10)
        assert (result.exit_code, result.output) == (0, b"started\n")
        alive = await hands.shell("kill -0 $! && echo alive")
        assert alive.output == b"alive\n", "background processes stay"


async def check_output_of_a_command_cannot_forge_its_end(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        forge = "for fd in $(seq 3 255); do echo 'x 0' >&$fd; done"
        result = await hands.shell(f"bash -c '{forge}' 2>/dev/null; sleep 0.2; echo end; (exit 5)")
        assert result.exit_code == 5
        assert result.output.endswith(b"end\n")


async def check_long_output_keeps_head_and_tail_and_says_how_much_is_missing(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        result = await hands.shell("echo HEAD; seq 1 200000; echo TAIL", output_bytes_max=2000)
        assert result.is_truncated
        assert result.output.startswith(b"HEAD\n1\n")
        assert result.output.endswith(b"200000\nTAIL\n")
        assert result.output_bytes_total == 1_288_895 + 10
        assert f"{result.output_bytes_total - 2000} bytes left out".encode() in result.output
        assert len(result.output) < 2100


async def check_commands_queue_and_each_gets_its_own_output(bench: Bench) -> None:
    async with a_sandbox(bench) as hands:
        results = await asyncio.gather(*(hands.shell(f"echo {number}; sleep 0.01") for number in range(8)))
        assert [result.output for result in results] == [f"{number}\n".encode() for number in range(8)]


async def check_environment_is_clean_but_for_the_specification(bench: Bench) -> None:
    async with a_sandbox(bench, environment={"COLOUR": "blue"}) as hands:
        said = (await hands.exec("env")).output.decode()
        names = {line.partition("=")[0] for line in said.splitlines()}
        assert "COLOUR=blue" in said
        assert "TERM=dumb" in said
        assert not {name for name in names if "KEY" in name and not name.startswith("GIT_CONFIG")}
        assert "PYTHONPATH" not in names
