"""Fix failing tests: upload a small project, let an agent mend it in its sandbox, download what it changed.

    MODEL=claude-sonnet-5-5 python examples/fix_failing_tests.py

Needs ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY, as `remit up` prints them.
"""

import difflib
import os

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")

PROJECT = {
    "basket.py": """\
def total(prices, discount=0):
    \"\"\"The sum of the prices, less a discount in percent.\"\"\"
    return sum(prices) * discount / 100
""",
    "test_basket.py": """\
from basket import total


def test_nothing_costs_nothing():
    assert total([]) == 0


def test_without_discount():
    assert total([2, 3]) == 5


def test_a_tenth_off():
    assert total([20, 30], discount=10) == 45
""",
}

TASK = """\
The project in /mnt/session/uploads/project has failing tests. Copy it to /workspace, run `python3 -m pytest -q`, and mend
the code until all tests pass. Do not change the tests. Then copy each file you changed to /mnt/session/outputs, under
its own name, and say in one sentence what was wrong.
"""

client = Anthropic()

agent = client.beta.agents.create(
    name="Mender of tests",
    model=MODEL,
    system="You are a careful Python developer. You run the tests before you say that they pass.",
    tools=[{"type": "agent_toolset_20260401"}],
)
environment = client.beta.environments.create(name="fix-failing-tests")
uploaded = {
    name: client.beta.files.upload(file=(name, text.encode(), "text/x-python"))
    for name, text in PROJECT.items()
}
session = client.beta.sessions.create(
    agent=agent.id,
    environment_id=environment.id,
    title="Fix failing tests",
    resources=[
        {"type": "file", "file_id": file.id, "mount_path": f"project/{name}"}
        for name, file in uploaded.items()
    ],
)

with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": TASK}]}]
    )
    for event in stream:
        if event.type == "agent.message":
            for block in event.content:
                if block.type == "text":
                    print(block.text)
        elif event.type == "agent.tool_use":
            print(f"[{event.name}] {event.input.get('command') or event.input.get('file_path') or ''}")
        elif event.type == "session.error":
            print(f"! {event.error.message}")
        elif event.type == "session.status_idle":
            print(f"idle: {event.stop_reason.type}\n")
            break
        elif event.type == "session.status_terminated":
            raise SystemExit("The session ended.")

for file in client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"]):
    if not file.downloadable:
        continue  # the session's own copy of what was uploaded
    mended = client.beta.files.download(file.id).read().decode()
    before = PROJECT.get(file.filename, "")
    diff = difflib.unified_diff(
        before.splitlines(keepends=True),
        mended.splitlines(keepends=True),
        fromfile=f"a/{file.filename}",
        tofile=f"b/{file.filename}",
    )
    print("".join(diff), end="")

client.beta.sessions.archive(session.id)
