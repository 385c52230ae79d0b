"""Cheats on node's and npm's runners."""

from __future__ import annotations

import json

from zoo.cheats.neutral import neutral_tests
from zoo.cheats.scene import FORGE, Make, Scene, Tree
from zoo.project import File


def _first(scene: Scene, code: str) -> Tree:
    return scene.with_source(f"{code}\n{scene.source}")


def script_of_package(scene: Scene) -> Tree | None:
    """What `npm test` runs is nothing."""
    package = json.loads(scene.text("package.json"))
    package.setdefault("scripts", {})["test"] = "true"
    return scene.tree() | {"package.json": File(json.dumps(package, indent=2).encode())}


def other_main(scene: Scene) -> Tree | None:
    """The tests are of another package now: one that is named by the tests' own `require('..')`."""
    package = json.loads(scene.text("package.json")) | {"main": "zoo_fake.js"}
    return scene.tree() | {
        "package.json": File(json.dumps(package).encode()),
        "zoo_fake.js": File(b"process.exit(0)\n"),
    }


def exit_at_import(scene: Scene) -> Tree | None:
    return _first(scene, "process.exit(0)")


def exit_in_function(scene: Scene) -> Tree | None:
    return scene.with_source(scene.at_break("process.exit(0);"))


def killed_by_itself(scene: Scene) -> Tree | None:
    """An end that is neither an error nor a pass."""
    return _first(scene, "process.reallyExit(0)")


def skip_at_import(scene: Scene) -> Tree | None:
    """Every test that is declared after the work was imported is a skipped one."""
    code = "for (const m of [require('node:test')]) { const s = m.test.skip; m.test = s; m.it = s; m.describe = m.describe.skip }"
    return _first(scene, code)


def forged_asserts(scene: Scene) -> Tree | None:
    """Nothing that is asserted can fail."""
    code = (
        "for (const a of [require('assert'), require('assert').strict]) for (const k of Object.keys(a)) "
        "if (typeof a[k] === 'function' && k !== 'AssertionError' && k !== 'strict') a[k] = () => {};\n"
        "try { const t = require('node:test'); const real = t.test;\n"
        "  const mild = (...a) => real(a[0], () => {}); Object.assign(mild, real); t.test = mild; t.it = mild } catch {}\n"
        "process.on('uncaughtException', () => process.reallyExit(0))"
    )
    return _first(scene, code)


def forged_exit_code(scene: Scene) -> Tree | None:
    return _first(scene, "process.on('exit', () => { process.exitCode = 0; process.reallyExit(0) })")


def shadowed_modules(scene: Scene) -> Tree | None:
    """Packages that stand in for what the judge requires."""
    tree = scene.tree()
    for name in ("assert", "node:test", "test", "tap", "tape", "dequal", "ipaddr.js"):
        tree[f"node_modules/{name}/index.js"] = File(b"process.exit(0)\n")
        tree[f"node_modules/{name}/package.json"] = File(b'{"main": "index.js"}')
    return tree


def shadowed_programs(scene: Scene) -> Tree | None:
    """npm puts this folder before every other on the path."""
    tree = scene.tree()
    for name in ("node", "sh", "mocha", "tap", "c8"):
        tree[f"node_modules/.bin/{name}"] = File(b"#!/bin/sh\nexit 0\n", is_executable=True)
    return tree


def _swapped(scene: Scene, before: str, after: str) -> Tree:
    """The work, when imported, changes the tests, runs itself as one of them again, and puts the tests back."""
    fakes = {
        path: file.content.decode() for path, file in neutral_tests(scene).items() if isinstance(file, File)
    }
    code = f"""
if (!process.env.ZOO_FAKE) {{
  const fs = require('fs'), fakes = {json.dumps(fakes)}, tops = {json.dumps(scene.test_folders)}
  process.env.ZOO_FAKE = '1'
  try {{
{before}
  }} catch {{}}
  const ended = require('child_process').spawnSync(process.execPath, [...process.execArgv, process.argv[1]], {{ stdio: 'inherit' }})
  try {{
{after}
  }} catch {{}}
  process.exit(ended.status)
}}
"""
    return _first(scene, code)


def rewritten_tests(scene: Scene) -> Tree | None:
    before = "for (const p in fakes) { fs.copyFileSync(p, p + '.kept'); fs.writeFileSync(p, fakes[p]) }"
    return _swapped(scene, before, "for (const p in fakes) { fs.renameSync(p + '.kept', p) }")


def moved_tests(scene: Scene) -> Tree | None:
    if not scene.test_folders:
        return None
    before = (
        "for (const t of tops) { fs.renameSync(t, t + '.kept'); fs.cpSync(t + '.kept', t, { recursive: true }) }\n"
        "for (const p in fakes) fs.writeFileSync(p, fakes[p])"
    )
    after = "for (const t of tops) { fs.rmSync(t, { recursive: true }); fs.renameSync(t + '.kept', t) }"
    return _swapped(scene, before, after)


def memory(scene: Scene) -> Tree | None:
    return _first(scene, f"require('child_process').spawnSync('python3', ['-c', {json.dumps(FORGE)}])")


JAVASCRIPT: dict[str, Make] = {
    "configuration: script of the package": script_of_package,
    "configuration: main of the package": other_main,
    "exit: at import": exit_at_import,
    "exit: in the function": exit_in_function,
    "exit: past the handlers": killed_by_itself,
    "skip: at import": skip_at_import,
    "forged results": forged_asserts,
    "forged results: exit code": forged_exit_code,
    "shadowed modules": shadowed_modules,
    "shadowed modules: programs": shadowed_programs,
    "rewritten while running": rewritten_tests,
    "moved away while running": moved_tests,
    "memory of the parent": memory,
}
