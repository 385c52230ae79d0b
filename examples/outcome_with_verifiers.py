"""An outcome that a command decides: Remit's own field `verifiers`, sent with the official SDK.

    python examples/outcome_with_verifiers.py

The command runs in a fresh sandbox that the agent cannot reach, on the files as they are when the agent says that it is
done. What the agent claims plays no part in it.
"""

import os

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")

CHECK = """\
set -e
python3 roman.py 1990 | grep -qx MCMXC
python3 roman.py 4 | grep -qx IV
if python3 roman.py 0 2>/dev/null; then echo "0 is not refused"; exit 1; fi
"""

client = Anthropic()

agent = client.beta.agents.create(name="Programmer", model=MODEL, tools=[{"type": "agent_toolset_20260401"}])
environment = client.beta.environments.create(name="outcome-with-verifiers")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

outcome = {
    "type": "user.define_outcome",
    "description": "Write /workspace/roman.py: `python3 roman.py N` prints N (1 to 3999) in Roman numerals; "
    "for any other N it prints nothing and exits with 1.",
    "max_iterations": 3,
    # The SDK's types do not know this field; it passes through as it stands.
    "verifiers": [{"type": "command", "command": CHECK, "timeout_seconds": 60}],
}

results = []
with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(session.id, events=[outcome])
    for event in stream:
        if event.type == "agent.message":
            print("agent:", "".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "span.outcome_evaluation_end":
            results.append(event.result)
            print(f"verified ({event.iteration}): {event.result}. {event.explanation}")
        elif event.type == "session.error":
            print(f"! {event.error.message}")
        elif event.type == "session.status_idle":
            break

print(" -> ".join(results))
raise SystemExit(0 if results and results[-1] == "satisfied" else 1)
