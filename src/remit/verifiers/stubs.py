"""Stubs for programs of the work in the judge's sandbox: texts of ours in the same language. Pure.

Run as a program it becomes a call (`isolation_program`) with its own command line. Imported, sourced or required, it says
so, leaves the path in `TAKEN_IN` and fails: the judge's process would have run the work. The text holds nothing of the work
but its path.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from typing import Literal, assert_never

Language = Literal["python", "shell", "javascript", "perl", "ruby", "php", "lua", "other"]
"""`other`: only the kernel can start it."""

PYTHON = "/opt/remit/bin/python3"
"""The image's interpreter."""
CALL = "isolated-perl-ruby"
"""The file among the judge's own that a stub runs. Its name: perl and ruby hand a file whose first line names neither of
them to the program that it does name."""
TAKEN_IN = "/tmp/remit-taken-in"
"""Paths of stubs that were taken into a process, a line each."""
_LANGUAGES: dict[str, Language] = {
    **dict.fromkeys((".py", ".pyw"), "python"),
    **dict.fromkeys((".sh", ".bash", ".bats", ".dash"), "shell"),
    **dict.fromkeys((".js", ".cjs", ".mjs", ".ts", ".mts", ".cts"), "javascript"),
    **dict.fromkeys((".pl", ".pm"), "perl"),
    ".rb": "ruby",
    ".php": "php",
    ".lua": "lua",
}
_INTERPRETERS: tuple[tuple[re.Pattern[str], Language], ...] = (
    (re.compile(r"^(python|pypy)[\d.]*$"), "python"),
    (re.compile(r"^(ba|da|k|z|a)?sh$"), "shell"),
    (re.compile(r"^(node|nodejs|bun|deno|tsx|ts-node)$"), "javascript"),
    (re.compile(r"^perl[\d.]*$"), "perl"),
    (re.compile(r"^ruby[\d.]*$"), "ruby"),
    (re.compile(r"^php[\d.]*$"), "php"),
    (re.compile(r"^lua(jit)?[\d.]*$"), "lua"),
)

_PYTHON = """\
@first@
import os
import sys


def run_or_refuse():
    frame = sys._getframe(1)
    source = frame.f_code.co_filename
    machinery = ("runpy", "importlib", "importlib.util", "importlib._bootstrap", "importlib._bootstrap_external")
    frame = frame.f_back
    while frame is not None and frame.f_globals.get("__name__") in machinery:
        frame = frame.f_back
    if frame is None:  # nobody's code but the interpreter's own: it was asked to run this
        argv = list(getattr(sys, "orig_argv", [sys.executable] + sys.argv))
        if not os.path.exists(source):
            argv = [argv[0], @path@] + sys.argv[1:]
        os.execv(@python@, [@python@, "-IS", @call@, "--argv", @path@] + argv)
    with open(@taken@, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(@path@ + "\\n")
    raise ImportError(@why@)


run_or_refuse()
"""
_SHELL = """\
@first@
remit_path=@path@
if [ -n "${BASH_VERSION-}" ]; then
    if ! (return 0) 2>/dev/null && [ "$BASH_SOURCE" -ef "$remit_path" ]; then
        mapfile -d '' -t remit_argv </proc/$$/cmdline
        set -- @python@ -IS @call@ --argv "$remit_path"
        eval 'exec "$@" "${remit_argv[@]}"'
    fi
elif [ "$0" -ef "$remit_path" ] && [ "/proc/$$/fd/10" -ef "$remit_path" ]; then
    # dash holds the script that it was started with as number 10
    exec @python@ -IS @call@ --argv "$remit_path" sh ${-:+"-$-"} "$0" "$@"
fi
printf '%s\\n' "$remit_path" >>@taken@
printf '%s\\n' @why@ >&2
exit 1
"""
_JAVASCRIPT = """\
@first@
;(function () {
  const path = @path@
  const isCommon = typeof require === 'function' && typeof module === 'object'
  const get = process.getBuiltinModule ? (name) => process.getBuiltinModule(name) : isCommon ? require : null
  function run(child) {
    const words = ['-IS', @call@, '--argv', path, process.argv0, ...process.execArgv, ...process.argv.slice(1)]
    const ended = child.spawnSync(@python@, words, { stdio: 'inherit' })
    if (ended.signal) process.kill(process.pid, ended.signal)
    process.exit(ended.status === null ? 125 : ended.status)
  }
  function isSame(other) {
    try {
      return get ? get('fs').realpathSync(other) === get('fs').realpathSync(path) : other === path
    } catch {
      return false
    }
  }
  const isMain = isCommon ? require.main === module : isSame(process.argv[1])
  if (isMain && (!get || get('worker_threads').isMainThread)) {
    if (get) run(get('child_process'))
    else import('node:child_process').then(run)
    return
  }
  if (get) get('fs').appendFileSync(@taken@, path + '\\n')
  throw new Error(@why@)
})()
"""
_PERL = """\
@first@
my $path = @path@;
my @here = stat(__FILE__);
my @there = stat($path);
if (!caller && @here && @there && "$here[0] $here[1]" eq "$there[0] $there[1]") {
    open(my $told, '<', '/proc/self/cmdline') or die $!;
    local $/;
    my @argv = split(/\\0/, <$told>, -1);
    pop @argv;
    exec { @python@ } @python@, '-IS', @call@, '--argv', $path, @argv;
}
open(my $taken, '>>', @taken@) or die $!;
print $taken "$path\\n";
close($taken);
die @why@ . "\\n";
"""
_RUBY = """\
@first@
path = @path@
if caller.empty? && File.exist?(__FILE__) && File.identical?(__FILE__, path)
  argv = File.binread('/proc/self/cmdline').split("\\0", -1)[0...-1]
  exec([@python@, @python@], '-IS', @call@, '--argv', path, *argv)
end
File.open(@taken@, 'a') { |file| file.puts(path) }
raise LoadError, @why@
"""
_PHP = """\
@first@
<?php
(function () {
    $path = @path@;
    if (PHP_SAPI === 'cli' && count(get_included_files()) === 1 && realpath(__FILE__) === realpath($path)) {
        $argv = explode("\\0", substr(file_get_contents('/proc/self/cmdline'), 0, -1));
        $words = ['-IS', @call@, '--argv', $path, ...$argv];
        if (function_exists('pcntl_exec')) {
            pcntl_exec(@python@, $words);
        }
        $pipes = [];
        exit(proc_close(proc_open([@python@, ...$words], [STDIN, STDOUT, STDERR], $pipes)));
    }
    file_put_contents(@taken@, $path . "\\n", FILE_APPEND);
    throw new Error(@why@);
})();
"""
_LUA = """\
@first@
local path = @path@
if arg and arg[0] and debug.getinfo(1, "S").source == "@" .. arg[0] and debug.getinfo(3, "l") == nil then
  local told = io.open("/proc/self/cmdline", "rb")
  local words = { "exec", @python@, "-IS", @call@, "--argv", path }
  for word in told:read("*a"):gmatch("([^%z]*)%z") do
    words[#words + 1] = word
  end
  for at = 2, #words do
    words[at] = "'" .. words[at]:gsub("'", "'\\\\''") .. "'"
  end
  local ok, _, code = os.execute(table.concat(words, " "))
  os.exit(code or (type(ok) == "number" and math.floor(ok / 256)) or 125)
end
local taken = io.open(@taken@, "a")
taken:write(path .. "\\n")
taken:close()
error(@why@)
"""
_OTHER = """\
@first@
) ( this is a stub that only the kernel can start; see the first line
"""
_TEXTS: dict[Language, str] = {
    "python": _PYTHON,
    "shell": _SHELL,
    "javascript": _JAVASCRIPT,
    "perl": _PERL,
    "ruby": _RUBY,
    "php": _PHP,
    "lua": _LUA,
    "other": _OTHER,
}


def language_of(path: str, mode: int, head: bytes) -> Language | None:
    """Tell in which language a file can be run, by its name, its first line, or the right to execute it; None: it cannot."""
    known = _LANGUAGES.get(posixpath.splitext(path)[1].lower())
    if known is not None:
        return known
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").split()
        for word in words:
            name = posixpath.basename(word)
            for pattern, language in _INTERPRETERS:
                if pattern.match(name):
                    return language
        return "other"
    return "other" if mode & 0o111 or head.startswith(b"\x7fELF") else None


def stub(path: str, language: Language, *, folder: str, call: str) -> bytes:
    """Write the stub for this path of the tree at `folder`; `call` is the file that makes calls."""
    fields = {
        "first": f"#!{PYTHON} {call}",
        "path": f"{folder}/{path}",
        "python": PYTHON,
        "call": call,
        "taken": TAKEN_IN,
        "why": f"remit: {path} is the work's, which runs in a sandbox of its own: it can be run as a program, not taken in",
    }
    text = _TEXTS[language]
    quote = _quote_for(language)
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value if name == "first" else quote(value))
    return text.encode("utf-8", "surrogateescape")


def _quote_for(language: Language) -> Callable[[str], str]:
    match language:
        case "shell":
            return lambda value: "'" + value.replace("'", "'\\''") + "'"
        case "perl" | "ruby" | "php":
            return lambda value: "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case "lua":
            return lambda value: '"' + re.sub(r'([\\"])', r"\\\1", value).replace("\n", "\\n") + '"'
        case "python" | "javascript" | "other":
            return json.dumps
        case _:
            assert_never(language)
