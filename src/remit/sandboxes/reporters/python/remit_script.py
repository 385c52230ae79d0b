# pyright: basic
"""Tells how a program of the working tree ended that no test runner runs: by itself, or by whom.

One line, in a file named by what it says, so that a thousand equal runs write one:

    {"t": "script", "main", "how", "where", "function", "code", "hook", "files", "exits", "raises", "run"}

`how`: finished (the main module came to its end), exit (sys.exit, exit, quit), os._exit, exec, raised (an exception that
nobody caught), system_exit and system_exit_at_import (SystemExit that was raised by hand: nothing says where); native, at once,
where a file of the tree loads machine code, which could end the process unseen. `where`: the innermost file of the tree that is
no package, and its `function`. `run`: of a process that said native, in all that it says. `hook`: whose sys.excepthook it is. `files`: of the tree, loaded. `exits`, `raises`: functions in
them that name a way to exit, and SystemExit.

Nothing is traced. The main module's frame is kept from its first import on: the instruction on which it stopped says whether it
came to its end. What sys.exit raises carries a token, whose death while that frame still runs says that it was caught.
"""

import atexit
import os
import sys
import zlib
from _thread import get_ident

_EXITS = ("exit", "_exit", "quit", "SystemExit", "execv", "execve", "execvp", "execvpe", "execl", "execlp")
_NATIVE = ("ctypes", "_ctypes", "cffi", "_cffi_backend")
_NAMES_MAX = 500
_OURS = os.path.dirname(os.path.abspath(__file__))


class _Token:
    """Hangs on an exception that ends the program, unless it is caught."""

    __slots__ = ("ending", "script")

    def __init__(self, script, ending):
        self.script, self.ending = script, ending

    def __del__(self):
        try:
            if self.script.is_running():
                self.script.exits.remove(self.ending)
        except Exception:
            pass

    def __reduce__(self):
        return bool, ()


class _Exit:
    """Stands where sys.exit stood; no function, which would become a method of a class that has it."""

    def __init__(self, call, script):
        self._call, self._script = call, script
        self.__name__ = self.__qualname__ = "exit"
        self.__module__, self.__doc__ = "sys", call.__doc__

    def __call__(self, *args):
        try:
            return self._call(*args)
        except SystemExit as error:
            self._script.note_exit(error)
            raise

    def __reduce__(self):
        return "exit"


class _Leaving:
    """Stands where a function of `posix` stood after which nothing of this program runs."""

    def __init__(self, call, script, how):
        self._call, self._script, self._how = call, script, how
        self.__name__ = self.__qualname__ = call.__name__
        self.__module__, self.__doc__ = call.__module__, call.__doc__

    def __call__(self, *args, **named):
        code = args[0] if args and isinstance(args[0], int) else named.get("status")
        self._script.leave(self._how, code)
        return self._call(*args, **named)

    def __reduce__(self):
        return self.__name__


class Script:
    """The program of this process."""

    def __init__(self, folder, tree, main):
        self._folder, self._prefix, self._main = folder, tree.rstrip("/") + "/", main
        self._pid, self._thread, self._getpid = os.getpid(), get_ident(), os.getpid
        self._frame = None
        self._run = None
        self._put_back = []
        self.exits = []
        self.is_over = False
        self._stand_in(sys, "exit", _Exit(sys.exit, self))
        posix = sys.modules["posix"]
        for name, how in (("_exit", "os._exit"), ("execv", "exec"), ("execve", "exec")):
            ours = _Leaving(getattr(posix, name), self, how)
            for module in (posix, os):
                self._stand_in(module, name, ours)
        self._wrap_quitter()
        atexit.register(self._end)

    def look(self, name):
        """Look at an import; called for every one that is not known yet."""
        if self._frame is None:
            self._find_main()
        if name in _NATIVE:
            self._note_native(self._importer())

    def note_exit(self, error):
        """Note that this SystemExit is about to leave sys.exit, or what calls it."""
        try:
            if self.is_over or self._getpid() != self._pid or get_ident() != self._thread:
                return
            if self._frame is None:
                self._find_main()
            where, function = self._where(sys._getframe(1))
            code = error.code
            ending = [where, function, 0 if code is None else code if isinstance(code, int) else 1]
            self.exits.append(ending)
            error.__dict__["_remit"] = _Token(self, ending)
        except Exception:
            pass

    def leave(self, how, code):
        """Note the end of the program: nothing of it will run after this call."""
        try:
            if self._frame is None:
                self._find_main()
            if not self.is_over and self._getpid() == self._pid:
                where, function = self._where(sys._getframe(1))
                self._write(how, where, function, code)
        except Exception:
            pass

    def is_running(self):
        """Return whether the main module is below the caller on the stack."""
        frame = sys._getframe(1)
        while frame is not None:
            if frame is self._frame:
                return True
            frame = frame.f_back
        return False

    def stop(self):
        """Stop: a test runner reports from now on, or this is no program of the tree."""
        self.is_over = True
        self._frame = None
        for module, name, ours, theirs in self._put_back:
            if getattr(module, name, None) is ours:
                setattr(module, name, theirs)
        self._put_back = []

    def _stand_in(self, module, name, ours):
        self._put_back.append((module, name, ours, getattr(module, name)))
        setattr(module, name, ours)

    def _wrap_quitter(self):
        quitter = sys.modules["_sitebuiltins"].Quitter
        call, note = quitter.__call__, self.note_exit

        def called(self, code=None):
            try:
                return call(self, code)
            except SystemExit as error:
                note(error)
                raise

        self._stand_in(quitter, "__call__", called)

    def _find_main(self):
        frame, names, found = sys._getframe(1), sys.modules["__main__"].__dict__, None
        while frame is not None:
            if frame.f_globals is names and frame.f_code.co_name == "<module>":
                found = frame
            frame = frame.f_back
        if found is None:
            return
        file = found.f_code.co_filename
        if self._main in ("-c", "-"):
            self._frame = found
        elif self._main == "-m" and self._in_tree(file) is None:
            self.stop()
        else:
            self._main = os.path.abspath(file)
            self._frame = found

    def _note_native(self, importer):
        try:
            if (
                importer is not None
                and self._run is None
                and not self.is_over
                and self._getpid() == self._pid
            ):
                self._run = "%d-%s" % (self._pid, os.urandom(6).hex())
                self._write("native", importer, None, None)
        except Exception:
            pass

    def _importer(self):
        """The file that imports, where it is one of the tree."""
        frame = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith("<frozen importlib") and not file.startswith(_OURS):
                return self._of_frame(file)
            frame = frame.f_back
        return None

    def _where(self, frame):
        while frame is not None:
            file = self._of_frame(frame.f_code.co_filename)
            if file is not None:
                return file, frame.f_code.co_name
            frame = frame.f_back
        return None, None

    def _of_frame(self, file):
        if self._frame is not None and file == self._frame.f_code.co_filename:
            return self._in_tree(self._main) or self._main
        return None if file.startswith("<") else self._in_tree(file)

    def _in_tree(self, path):
        """Relative to the tree; None for what is not in it, and for packages that are installed there."""
        path = os.path.abspath(path)
        if path.startswith(self._prefix) and "-packages/" not in path:
            return path[len(self._prefix) :]
        return None

    def _end(self):
        try:
            if not self.is_over and self._getpid() == self._pid:
                if self._main != "-m":  # of a module that imported nothing, nobody knows the file
                    self._write(*self._ending())
        except Exception:
            pass
        self.is_over, self._frame = True, None

    def _ending(self):
        frame = self._frame
        if frame is None:
            where, function, code = self.exits[-1] if self.exits else (None, None, None)
            return "exit" if self.exits else "finished", where, function, code
        import opcode

        stopped = opcode.opname[frame.f_code.co_code[frame.f_lasti]]
        if stopped.startswith("RETURN_"):
            return "finished", None, None, None
        main = self._in_tree(self._main) or self._main
        if self.exits:
            return ("exit", *self.exits[-1])
        if hasattr(sys, "last_type"):
            return "raised", None, None, None
        if stopped == "RAISE_VARARGS":
            return "exit", main, "<module>", None
        return "system_exit_at_import" if stopped == "IMPORT_NAME" else "system_exit", None, None, None

    def _write(self, how, where, function, code):
        if self.is_over:
            return
        main = self._in_tree(self._main) or self._main
        files, exits, raises = self._loaded()
        hook = getattr(getattr(sys.excepthook, "__code__", None), "co_filename", None)
        hook = self._of_frame(hook) if hook else None
        is_usual = how in ("finished", "exit", "raised", "os._exit", "exec") and where in (None, main)
        if is_usual and hook is None and not files and self._run is None:
            return
        line = _line(
            t="script",
            main=main,
            how=how,
            where=where,
            function=function,
            code=code,
            hook=hook,
            files=[main, *files] if self._main[0] == "/" else files,
            exits=exits,
            raises=raises,
            run=self._run or "",
        )
        os.makedirs(self._folder, exist_ok=True)
        path = os.path.join(self._folder, "%08x%08x.script" % (zlib.crc32(line), zlib.adler32(line)))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _loaded(self):
        """Files of the tree but the main one, and functions in all of them that name a way to exit."""
        files, exits, raises = set(), set(), set()
        main = self._in_tree(self._main) or self._main
        if self._frame is not None:
            for code in _inner(self._frame.f_code):
                _note(main, code, exits, raises)
        for name, module in list(sys.modules.items()):
            try:
                file = module.__file__
            except Exception:
                continue
            file = self._in_tree(file) if isinstance(file, str) else None
            if file is None or file == main or name == "__main__":
                continue
            files.add(file)
            for code in _codes(vars(module), name):
                _note(file, code, exits, raises)
        return [sorted(names)[:_NAMES_MAX] for names in (files, exits, raises)]


def _note(file, code, exits, raises):
    if any(name in _EXITS for name in code.co_names):
        exits.add("%s:%s" % (file, code.co_name))
        if "SystemExit" in code.co_names:
            raises.add("%s:%s" % (file, code.co_name))


def _codes(names, module):
    """The code of functions, and of those in classes, that this module has of its own."""
    for value in list(names.values()):
        value = getattr(value, "__func__", value)
        code = getattr(value, "__code__", None)
        if isinstance(code, type(_codes.__code__)) and getattr(value, "__module__", None) == module:
            yield code
            yield from _inner(code)
        elif type(value) is type and value.__module__ == module:
            yield from _codes(vars(value), module)


def _inner(code):
    for each in code.co_consts:
        if isinstance(each, type(code)):
            yield each
            yield from _inner(each)


def _line(**record):
    """As JSON; `json` would have to be imported first."""
    return ("{%s}\n" % ", ".join('"%s": %s' % (name, _json(record[name])) for name in record)).encode(
        "utf-8", "backslashreplace"
    )


def _json(value):
    if value is None:
        return "null"
    if isinstance(value, int):
        return "%d" % value
    if isinstance(value, list):
        return "[%s]" % ", ".join(map(_json, value))
    return '"%s"' % "".join("\\u%04x" % ord(c) if c in '"\\' or c < " " else c for c in value)


_scripts = []


def watch(folder, tree, main):
    """Watch this process, whose main program `main` is: a file, -m, -c or - (standard input)."""
    _scripts.append(Script(folder, tree, main))
    return _scripts[-1]


def stop():
    """See Script.stop."""
    for script in _scripts:
        script.stop()
