"""A person decides: the agent may not publish before it was approved, and waits as long as that takes.

    python examples/approval_gate.py

`request_approval` is a custom tool: the session stands still (and costs nothing) until this program answers it. Type
`yes`, or the reason for a no.
"""

import os

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")

SYSTEM = """\
You write announcements for a maker of bicycles. Before a text is final you must call request_approval with its full
wording. If it is declined, mend what the reason says and ask again. When it is approved, answer with the text alone.
"""
REQUEST_APPROVAL = {
    "type": "custom",
    "name": "request_approval",
    "description": "Ask the legal department to approve a text. Returns `approved`, or `declined` with the reason.",
    "input_schema": {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "The full wording."},
            "claims": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Claims that need proof.",
            },
        },
        "required": ["text"],
    },
}


def decide(text: str, claims: list[str]) -> str:
    """What the person at the terminal says."""
    print(f"\n--- to be approved ---\n{text}")
    for claim in claims:
        print(f"  claim: {claim}")
    answer = input("Approve? [yes / reason] ").strip()
    print()
    if answer.lower() in ("y", "yes"):
        return "approved"
    return f"declined: {answer or 'no reason given'}"


client = Anthropic()

agent = client.beta.agents.create(name="Copywriter", model=MODEL, system=SYSTEM, tools=[REQUEST_APPROVAL])
environment = client.beta.environments.create(name="approval-gate")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

with client.beta.sessions.events.stream(session.id) as stream:
    task = "Announce our new city bicycle: 14 kg, belt drive, ten years of guarantee on the frame. Two sentences."
    client.beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": task}]}]
    )
    asked = {}
    for event in stream:
        if event.type == "agent.custom_tool_use":
            asked[event.id] = event
        elif event.type == "session.status_idle" and event.stop_reason.type == "requires_action":
            # Every id that blocks the session needs its answer; after the last one it goes on by itself. In between
            # it says again what is left, and some of that may be answered by the time this program reads it.
            for event_id in event.stop_reason.event_ids:
                use = asked.pop(event_id, None)
                if use is None:
                    continue
                decision = decide(use.input["text"], use.input.get("claims") or [])
                client.beta.sessions.events.send(
                    session.id,
                    events=[
                        {
                            "type": "user.custom_tool_result",
                            "custom_tool_use_id": use.id,
                            "content": [{"type": "text", "text": decision}],
                        }
                    ],
                )
        elif event.type == "agent.message":
            print("".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "session.status_idle":
            print(f"({event.stop_reason.type})")
            break
