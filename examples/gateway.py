"""The gateway: plain model calls through Remit, on the same ledger as agents, for any model that it serves.

    python examples/gateway.py

No agent and no session: `messages.create`, `messages.stream`, `count_tokens` and the SDK's loop over local tools.
"""

import os

from anthropic import Anthropic, NotFoundError, beta_tool

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")


@beta_tool
def convert(amount: float, rate: float) -> str:
    """Convert an amount of money.

    Args:
        amount: How much.
        rate: What one unit is worth.
    """
    return f"{amount * rate:.2f}"


client = Anthropic()

question = {"role": "user", "content": "Name the three primary colours."}
counted = client.messages.count_tokens(model=MODEL, messages=[question])
print("counted:", counted.input_tokens > 0)

message = client.messages.create(model=MODEL, max_tokens=512, messages=[question])
print("created:", message.content[0].text)
print("usage:", message.usage.input_tokens > 0, message.usage.output_tokens > 0)

print("streamed: ", end="")
with client.messages.stream(
    model=MODEL,
    max_tokens=512,
    messages=[
        question,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": "And the secondary ones?"},
    ],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    final = stream.get_final_message()
print(f" ({final.stop_reason})")

runner = client.beta.messages.tool_runner(
    model=MODEL,
    max_tokens=512,
    tools=[convert],
    messages=[{"role": "user", "content": "How many francs are 250 euros at 0.94?"}],
)
for answer in runner:
    for block in answer.content:
        print("tool:" if block.type == "tool_use" else "answer:", getattr(block, "input", None) or block.text)

try:
    client.messages.create(model="no-such-model", max_tokens=16, messages=[question])
except NotFoundError as error:
    print(f"refused: {error.type}")
