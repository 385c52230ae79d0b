"""Versions of a prompt: change it, notice that somebody else did, compare, and roll back.

python examples/prompt_versions.py
"""

import os

from anthropic import Anthropic, ConflictError

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")

POLITE = "You answer customers of a bakery. Be polite and brief."
PIRATE = "You answer customers of a bakery. Talk like a pirate."
QUESTION = "Do you have rye bread today?"

client = Anthropic()
environment = client.beta.environments.create(name="prompt-versions")


def ask(agent) -> str:
    """One question to an agent (its id, or a version of it), in a session of its own."""
    session = client.beta.sessions.create(agent=agent, environment_id=environment.id)
    with client.beta.sessions.events.stream(session.id) as stream:
        client.beta.sessions.events.send(
            session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": QUESTION}]}]
        )
        said = ""
        for event in stream:
            if event.type == "agent.message":
                said += "".join(block.text for block in event.content if block.type == "text")
            elif event.type == "session.status_idle":
                break
    return f"version {session.agent.version}: {said}"


first = client.beta.agents.create(name="Bakery", model=MODEL, system=POLITE)
print("created", first.version)

second = client.beta.agents.update(first.id, version=first.version, system=PIRATE)
print("updated", second.version)

# Somebody still has version 1 in front of them and saves: they are told, and nothing is overwritten.
try:
    client.beta.agents.update(first.id, version=first.version, description="Answers customers.")
except ConflictError as conflict:
    print("conflict:", conflict.message)
    current = client.beta.agents.retrieve(first.id)
    merged = client.beta.agents.update(first.id, version=current.version, description="Answers customers.")
    print("merged", merged.version)

# What a version said stays what it says.
print(ask(first.id))
print(ask({"type": "agent", "id": first.id, "version": 1}))

# Rolling back is one more version, with what an old one had.
old = client.beta.agents.retrieve(first.id, version=1)
back = client.beta.agents.update(first.id, version=merged.version, system=old.system)
print("rolled back", back.version)
print(ask(first.id))

# An update that changes nothing makes no version.
same = client.beta.agents.update(first.id, version=back.version, system=old.system)
print("unchanged", same.version)
for version in client.beta.agents.versions.list(first.id):
    print(f"  {version.version}  {version.system}")
