"""Fan out: one question to several sessions at once, then one session that compares the answers.

python examples/fan_out.py [TOPIC …]
"""

import asyncio
import os
import sys

from anthropic import AsyncAnthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
TOPICS = sys.argv[1:] or ["PostgreSQL", "SQLite", "DuckDB", "Redis"]
AT_ONCE = 8


async def ask(client: AsyncAnthropic, agent_id: str, environment_id: str, question: str) -> str:
    """A session's answer."""
    session = await client.beta.sessions.create(
        agent=agent_id, environment_id=environment_id, title=question[:80]
    )
    said = []
    async with await client.beta.sessions.events.stream(session.id) as stream:
        await client.beta.sessions.events.send(
            session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": question}]}]
        )
        async for event in stream:
            if event.type == "agent.message":
                said += [block.text for block in event.content if block.type == "text"]
            elif event.type == "session.status_idle":
                break
    await client.beta.sessions.archive(session.id)
    return "\n".join(said)


async def main() -> None:
    async with AsyncAnthropic() as client:
        agent = await client.beta.agents.create(name="Adviser", model=MODEL, system="Be brief and concrete.")
        environment = await client.beta.environments.create(name="fan-out")
        slots = asyncio.Semaphore(AT_ONCE)

        async def look_at(topic: str) -> str:
            async with slots:
                question = f"When is {topic} the right store for a small web shop? One sentence."
                answer = await ask(client, agent.id, environment.id, question)
            print(f"{topic}: {answer}", flush=True)
            return f"{topic}: {answer}"

        answers = await asyncio.gather(*(look_at(topic) for topic in TOPICS))
        comparison = "Choose one of these for a web shop, and say why:\n" + "\n".join(answers)
        print("\n" + await ask(client, agent.id, environment.id, comparison))


asyncio.run(main())
