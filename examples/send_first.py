"""Send first, stream afterwards: the order that loses the answer where a server is quick and does not wait.

    python examples/send_first.py [TIMES]

Remit lets a turn wait a moment for its first reader (`reader_wait_seconds`), so programs in this order work too. What
reads later than that opens the stream first, or lists the history.
"""

import os
import sys
import time

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 1

client = Anthropic()

agent = client.beta.agents.create(name="Quick", model=MODEL)
environment = client.beta.environments.create(name="send-first")

complete = 0
longest = 0.0
for number in range(1, TIMES + 1):
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    start = time.monotonic()
    client.beta.sessions.events.send(
        session.id,
        events=[{"type": "user.message", "content": [{"type": "text", "text": f"Question {number}"}]}],
    )
    answer = ""
    with client.beta.sessions.events.stream(session.id) as stream:
        for event in stream:
            if event.type == "agent.message":
                answer += "".join(block.text for block in event.content if block.type == "text")
            elif event.type == "session.status_idle":
                break
    complete += bool(answer)
    longest = max(longest, time.monotonic() - start)

print(answer)
print(f"{complete} of {TIMES} complete; the slowest took {longest:.2f} s")
raise SystemExit(0 if complete == TIMES else 1)
