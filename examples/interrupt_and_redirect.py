"""Interrupt a session that is on the wrong track, and say what to do instead.

    python examples/interrupt_and_redirect.py

Both go in one request: the interrupt jumps the queue, the message is read as soon as the agent has stopped.
"""

import os

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")


def said(text: str) -> dict:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


client = Anthropic()

agent = client.beta.agents.create(name="Measurer", model=MODEL, tools=[{"type": "agent_toolset_20260401"}])
environment = client.beta.environments.create(name="interrupt-and-redirect")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

redirected = False
message_id = None
with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[said("Measure the load of this machine for ten minutes, with one command of bash.")],
    )
    for event in stream:
        if event.type == "agent.tool_use":
            print(f"[{event.name}] {event.input.get('command', '')}")
            if not redirected:
                redirected = True
                sent = client.beta.sessions.events.send(
                    session.id,
                    events=[
                        {"type": "user.interrupt"},
                        said("Too slow. One look at /proc/loadavg is enough."),
                    ],
                )
                message_id = sent.data[-1].id
                print("(interrupted)")
        elif event.type == "agent.tool_result":
            text = "".join(block.text for block in event.content or [] if block.type == "text")
            print(f"  {'error' if event.is_error else 'ok'}: {text.strip()[:200]}")
        elif event.type == "agent.message":
            print("agent:", "".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "user.message" and event.id == message_id and event.processed_at:
            print("(redirected)")
            message_id = None
        elif event.type == "session.status_idle":
            print(f"idle: {event.stop_reason.type}")
            # The interrupt may end a turn of its own before the message is read.
            if message_id is None:
                break
