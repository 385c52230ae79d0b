"""Confirm tools: `bash` asks before every command; reading and searching do not.

    python examples/confirm_tools.py

Type `yes` to allow a command. Anything else denies it and is told to the agent as the reason.
"""

import os

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")

client = Anthropic()

agent = client.beta.agents.create(
    name="Careful housekeeper",
    model=MODEL,
    tools=[
        {
            "type": "agent_toolset_20260401",
            "default_config": {"permission_policy": {"type": "always_allow"}},
            "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
        }
    ],
)
environment = client.beta.environments.create(name="confirm-tools")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)


def confirm(session_id: str, use) -> None:
    """Ask the person about one tool use, and send the answer."""
    print(f"\nThe agent wants to run: {use.input.get('command', use.input)}")
    answer = input("Allow? [yes / reason] ").strip()
    verdict = {"type": "user.tool_confirmation", "tool_use_id": use.id, "result": "allow"}
    if answer.lower() not in ("y", "yes"):
        verdict |= {"result": "deny", "deny_message": answer or "The user said no."}
    client.beta.sessions.events.send(session_id, events=[verdict])


with client.beta.sessions.events.stream(session.id) as stream:
    task = "Write three notes into /workspace/notes, then tidy up: leave only those worth keeping."
    client.beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": task}]}]
    )
    waiting = {}
    for event in stream:
        if event.type == "agent.tool_use":
            print(f"[{event.name}] {event.evaluated_permission}")
            waiting[event.id] = event
        elif event.type == "agent.tool_result":
            text = "".join(block.text for block in event.content or [] if block.type == "text")
            print(f"  {'error' if event.is_error else 'ok'}: {text.strip()[:200]}")
        elif event.type == "agent.message":
            print("".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "session.status_idle":
            if event.stop_reason.type != "requires_action":
                break
            # After each answer the session is idle again with the ids that are left: the first one is enough.
            confirm(session.id, waiting[event.stop_reason.event_ids[0]])
