"""A function of this program as the agent's tool, answered by the SDK's own tool runner.

    python examples/tool_runner.py

The function runs here, not in the sandbox: it can reach what only this machine can reach.
"""

import asyncio
import os

from anthropic import AsyncAnthropic, beta_async_tool
from anthropic.lib.tools import ToolError

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")

STOCK = {"bolt M8": 120, "nut M8": 4, "washer M8": 0}


@beta_async_tool
async def stock_of(article: str) -> str:
    """How many pieces of an article are in stock.

    Args:
        article: The article's name, such as "bolt M8".
    """
    if article not in STOCK:
        # Told to the agent, as any exception is; this one is not logged as a fault of ours.
        raise ToolError(f"There is no article {article!r}; there are: {', '.join(STOCK)}.")
    return str(STOCK[article])


async def main() -> None:
    async with AsyncAnthropic() as client:
        definition = stock_of.to_dict()
        agent = await client.beta.agents.create(
            name="Storekeeper",
            model=MODEL,
            system="Look up the stock of everything you are asked for before you answer.",
            tools=[
                {
                    "type": "custom",
                    "name": definition["name"],
                    "description": definition["description"],
                    "input_schema": definition["input_schema"],
                }
            ],
        )
        environment = await client.beta.environments.create(name="tool-runner")
        question = "Can we ship 50 sets of one bolt, one nut and one washer (all M8)? What is missing?"
        session = await client.beta.sessions.create(
            agent=agent.id,
            environment_id=environment.id,
            initial_events=[{"type": "user.message", "content": [{"type": "text", "text": question}]}],
        )
        # It ends when the session has been idle for `max_idle` seconds after its turn.
        runner = client.beta.sessions.events.tool_runner(session.id, tools=[stock_of], max_idle=0.5)
        async for call in runner:
            result = call.result["content"][0]["text"] if call.result else "(not ours)"
            print(f"{call.name}({call.event.input}) -> {result}")
        async for event in client.beta.sessions.events.list(session.id, types=["agent.message"]):
            print("".join(block.text for block in event.content if block.type == "text"))


asyncio.run(main())
