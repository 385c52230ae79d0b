# pyright: basic
"""Asks the test runners of this Python for a report: read at every start of an interpreter that has this folder on PYTHONPATH.

Plain Python from 3.8 on, for the interpreters of users' toolchains. Nothing here may ever break, slow or change a program: the
modules of a runner are watched for, and only where one is imported more is loaded. The folder leaves sys.path again (children
have it from PYTHONPATH), and a sitecustomize that this one hides is run.
"""

import os
import sys


def _watch():
    folder = os.path.dirname(os.path.abspath(__file__))
    hooks = {"_pytest.config": "remit_pytest", "unittest.main": "remit_unittest"}

    def load(name):
        """Our module of this name, which is not found by importing."""
        module = sys.modules.get(name)
        if module is None:
            module = type(sys)(name)
            module.__file__ = path = os.path.join(folder, name + ".py")
            code = sys.modules["_frozen_importlib_external"].SourceFileLoader(name, path).get_code(name)
            module.load = load
            sys.modules[name] = module
            exec(code, module.__dict__)
        return module

    script = None
    try:
        main = _main_of_tree()
        if main:
            script = load("remit_script").watch(os.environ["REMIT_REPORTS"], _tree(), main)
    except Exception:
        pass  # nobody tells how it ends, then

    def install(name):
        try:
            load(hooks[name]).install(sys.modules[name])
        except Exception:
            pass  # no report, then

    class Finder:
        """Lets the others find the module, and runs ours once theirs has been executed."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            if script is not None and not script.is_over:
                script.look(name)
            if name not in hooks:
                return None
            for finder in sys.meta_path:
                if finder is Finder or not hasattr(finder, "find_spec"):
                    continue
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    try:
                        follow(name, spec.loader)
                    except Exception:
                        pass
                    return spec
            return None

    def follow(name, loader):
        execute = loader.exec_module

        def exec_module(module):
            try:
                del loader.exec_module
            except AttributeError:
                pass
            execute(module)
            install(name)

        loader.exec_module = exec_module

    sys.meta_path.insert(0, Finder)
    for name in hooks:
        if name in sys.modules:
            install(name)


def _tree():
    return os.environ.get("REMIT_REPORTS_TREE") or "/workspace"


def _main_of_tree():
    """The program that is started, where it may be one of the working tree and no runner's business: a file, -m, -c, -."""
    if os.environ.get("REMIT_REPORTS_RUN") or sys.implementation.name != "cpython":
        return None  # elsewhere what is caught does not die at once
    word = getattr(sys, "argv", [""])[0]
    tree = _tree().rstrip("/") + "/"
    if word in ("", "-", "-c"):
        is_asked = (os.getcwd() + "/").startswith(tree) and not _is_of_program()
        return (word or "-") if is_asked else None
    if word == "-m":
        return word
    path = os.path.abspath(word)
    return path if path.startswith(tree) and "-packages/" not in path and "/bin/" not in path else None


def _is_of_program():
    """Whether a program started this one, not the judge's shell: whose text it is, nobody knows then."""
    pid = os.getppid()
    for _ in range(16):
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                if b"REMIT_REPORTS=" not in file.read():
                    return False
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                words = file.read().split(b"\0")
            with open("/proc/%d/stat" % pid, "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False  # what started the command may not be looked at
        name = os.path.basename(words[0])
        called = os.path.basename(words[1]) if len(words) > 1 else b""
        if name.startswith((b"python", b"node")) and not called.startswith(
            (b"npm", b"npx", b"yarn", b"pnpm")
        ):
            return True
    return True


def _run_hidden():
    """The sitecustomize that would have been found without this folder."""
    try:
        from importlib.machinery import PathFinder
    except ImportError:
        return
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None and spec.origin != __file__:
        module = sys.modules["sitecustomize"]
        module.__spec__, module.__file__, module.__loader__ = spec, spec.origin, spec.loader
        spec.loader.exec_module(module)


def _compile_elsewhere():
    """Where bytecode is read-only, what only compiles (`-m compileall`, `-m py_compile`) writes to a folder of its own."""
    words = list(sys.orig_argv) if hasattr(sys, "orig_argv") else []
    is_it = "-m" in words and words[words.index("-m") + 1 :][:1] in (["compileall"], ["py_compile"])
    if is_it and getattr(sys, "pycache_prefix", None):
        sys.pycache_prefix = "/tmp/bytecode-%d" % os.getpid()


if os.environ.get("REMIT_REPORTS") and not getattr(sys, "_remit_reports", False):
    setattr(sys, "_remit_reports", True)  # noqa: B010
    try:
        _compile_elsewhere()
        _watch()
    except Exception:
        pass
if __name__ == "sitecustomize":
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [_entry for _entry in sys.path if _entry != _here]
    _run_hidden()
