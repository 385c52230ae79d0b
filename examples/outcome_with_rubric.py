"""An outcome with a rubric: a grader in a context of its own decides whether the work is done.

    python examples/outcome_with_rubric.py [ITERATIONS]

ITERATIONS (3 if none is given) is how often the work may be judged before the agent must give up.
"""

import os
import sys

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
ITERATIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 3

DESCRIPTION = (
    "Write /mnt/session/outputs/brief.md: a brief of one page on moving our nightly backups off site."
)
RUBRIC = """\
- There is a section `Risks` with at least two risks, each with what is done about it.
- There is a section `Cost` with a figure per month and where it comes from.
- It has at most 400 words.
"""

client = Anthropic()

agent = client.beta.agents.create(
    name="Writer of briefs", model=MODEL, tools=[{"type": "agent_toolset_20260401"}]
)
environment = client.beta.environments.create(name="outcome-with-rubric")
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[
            {
                "type": "user.define_outcome",
                "description": DESCRIPTION,
                "rubric": {"type": "text", "content": RUBRIC},
                "max_iterations": ITERATIONS,
            }
        ],
    )
    for event in stream:
        if event.type == "agent.message":
            print("agent:", "".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "span.outcome_evaluation_start":
            print(f"grading, iteration {event.iteration} …")
        elif event.type == "span.outcome_evaluation_end":
            print(f"{event.result}: {event.explanation}")
        elif event.type == "session.status_idle":
            break

outcome = client.beta.sessions.retrieve(session.id).outcome_evaluations[-1]
print(f"\n{outcome.result} after {outcome.iteration + 1} of {ITERATIONS} iterations")
for file in client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"]):
    print(f"--- {file.filename}\n{client.beta.files.download(file.id).read().decode()}")
raise SystemExit(0 if outcome.result == "satisfied" else 1)
