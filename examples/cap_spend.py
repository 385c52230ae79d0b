"""Cap what a session may spend: it stops at the cap, shows what it cost, and goes on when the cap is raised.

    python examples/cap_spend.py [CENTS]

CENTS (10 if none is given) is the first cap. The model needs a price: a vendor's has one, a model of your own gets one
under [prices."MODEL"] in the server's remit.toml.
"""

import os
import sys

from anthropic import Anthropic, BadRequestError

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
CENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
CENTS_MAX = 1_000

TASK = "Write a story in five chapters into /workspace/story.md, one chapter at a time; read it again after each one."


def limit(cents: int) -> dict:
    return {"type": "limit", "max_list_cost": {"amount": str(cents), "currency": "USD"}}


client = Anthropic()

agent = client.beta.agents.create(name="Novelist", model=MODEL, tools=[{"type": "agent_toolset_20260401"}])
environment = client.beta.environments.create(name="cap-spend")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id, budget=limit(CENTS))

cents = CENTS
with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": TASK}]}]
    )
    for event in stream:
        if event.type == "agent.message":
            print("agent:", "".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "session.usage":
            # Comes right before every idle.
            print(f"spent {event.usage.list_cost.amount} of {cents} cents")
        elif event.type == "session.updated":
            print(f"the cap is now {event.budget.max_list_cost.amount} cents")
        elif event.type == "session.status_idle" and event.stop_reason.type == "budget_reached":
            print("stopped at the cap")
            try:
                client.beta.sessions.update(session.id, budget=limit(1))
            except BadRequestError as refused:
                print(f"refused ({refused.error_code})")
            cents *= 10
            if cents > CENTS_MAX:
                raise SystemExit("That is enough.")
            # Nothing has to be sent: the session goes on where it stood.
            client.beta.sessions.update(session.id, budget=limit(cents))
        elif event.type == "session.status_idle":
            print(f"done ({event.stop_reason.type})")
            break
