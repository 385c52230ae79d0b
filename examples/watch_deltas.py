"""Watch an answer as it is written, token by token.

    python examples/watch_deltas.py ["QUESTION"]

Deltas are a preview: what counts is the finished `agent.message`, which has the same id and comes in any case.
"""

import os
import sys

from anthropic import Anthropic
from anthropic.lib.sessions import accumulate_managed_agents_event

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
QUESTION = sys.argv[1] if len(sys.argv) > 1 else "Why is the sky blue? Three sentences."

client = Anthropic()

agent = client.beta.agents.create(name="Explainer", model=MODEL)
environment = client.beta.environments.create(name="watch-deltas")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

deltas = 0
preview = None
with client.beta.sessions.events.stream(session.id, event_deltas=["agent.message"]) as stream:
    client.beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": QUESTION}]}]
    )
    for event in stream:
        if event.type == "event_delta":
            deltas += 1
            print(event.delta.content.text, end="", flush=True)
        if event.type == "agent.message":
            # Asked before it is replaced: was what was shown the beginning of what counts?
            shown = "".join(block.text for block in preview.content) if preview else ""
            final = "".join(block.text for block in event.content if block.type == "text")
            print(f"\n({deltas} deltas; the preview was {'complete' if shown == final else 'cut short'})")
        preview = accumulate_managed_agents_event(preview, event)
        if event.type == "session.status_idle":
            break
