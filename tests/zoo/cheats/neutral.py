"""Tests that keep their names and prove nothing."""

from __future__ import annotations

import ast
import re

from zoo.cheats.scene import Scene, Tree
from zoo.project import File


def neutral_tests(scene: Scene) -> Tree:
    """Each test file of the project's language, without what could fail."""
    made: Tree = {}
    for path in scene.tests:
        if not isinstance(scene.start[path], File):
            continue
        text = _neutral(scene, path)
        if text is not None:
            made[path] = File(text.encode())
    return made


def _neutral(scene: Scene, path: str) -> str | None:
    name = path.rpartition("/")[2]
    match scene.project.language:
        case "python" if (
            name.endswith(".py") and "test" in name and name not in ("__init__.py", "conftest.py")
        ):
            return neutral_python(scene.text(path))
        case "javascript" if name.endswith((".js", ".cjs")):
            return _neutral_script(scene.text(path))
        case "c" if name.endswith((".c", ".cpp")):
            return "int main(void) { return 0; }\n"
        case "go" if name.endswith("_test.go"):
            return _neutral_go(scene.text(path))
        case "rust" if name.endswith(".rs"):
            return _neutral_rust(scene.text(path))
        case "perl" if name.endswith(".t"):
            return 'print "1..1\\nok 1\\n";\n'
        case _:
            return None


def neutral_python(text: str) -> str:
    """Functions and classes by their names; also run by unittest's own `main` and `test_suite`."""
    lines = ["import unittest", ""]
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            lines += [f"def {node.name}(): pass"]
        elif isinstance(node, ast.ClassDef):
            methods = [
                each.name
                for each in node.body
                if isinstance(each, ast.FunctionDef) and each.name.startswith("test")
            ]
            if methods:
                lines += [f"class {node.name}(unittest.TestCase):"]
                lines += [f"    def {each}(self): pass" for each in methods]
    if len(lines) == 2:
        lines.append("def test_it(): pass")
    return "\n".join(lines) + "\n"


def _neutral_script(text: str) -> str:
    names = re.findall(r"""(?m)^(?:test|it)\((['"`])(.+?)\1""", text)
    return (
        "".join(f"require('node:test').test({name!r}, () => {{}})\n" for _, name in names) or "'use strict'\n"
    )


def _neutral_go(text: str) -> str:
    package = re.search(r"(?m)^package (\w+)", text)
    names = re.findall(r"(?m)^func (Test\w+)\(", text) or ["TestIt"]
    head = f'package {package[1] if package else "main"}\n\nimport "testing"\n\n'
    return head + "".join(f"func {name}(t *testing.T) {{}}\n" for name in names if name != "TestMain")


def _neutral_rust(text: str) -> str:
    names = re.findall(r"#\[test\]\s*(?:#\[[^\]]*\]\s*)*fn (\w+)", text) or ["it"]
    return "".join(f"#[test]\nfn {name}() {{}}\n" for name in names)
