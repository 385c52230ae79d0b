"""Analyse data: upload a CSV, let an agent write a report and a chart, download both.

    python examples/analyse_data.py [FOLDER]

The results are put into FOLDER (`analysis` if none is given).
"""

import os
import sys
from pathlib import Path

from anthropic import Anthropic

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "analysis")

SALES = """\
month,region,units,price
2026-01,north,120,9.50
2026-01,south,80,9.50
2026-02,north,135,9.50
2026-02,south,60,9.00
2026-03,north,150,9.50
2026-03,south,45,8.50
"""

TASK = """\
/mnt/session/uploads/sales.csv has units and prices by month and region. With Python's standard library write to
/mnt/session/outputs:
- report.md: revenue by region and by month, and what stands out, in at most ten lines;
- chart.svg: a bar chart of revenue by month, one bar for each region.
Check the figures by computing them a second way before you answer. Answer with the most important finding.
"""

client = Anthropic()

agent = client.beta.agents.create(name="Analyst", model=MODEL, tools=[{"type": "agent_toolset_20260401"}])
# The analysis needs no network, so it gets none.
environment = client.beta.environments.create(
    name="analyse-data", config={"type": "cloud", "networking": {"type": "limited", "allowed_hosts": []}}
)
data = client.beta.files.upload(file=("sales.csv", SALES.encode(), "text/csv"))
session = client.beta.sessions.create(
    agent=agent.id,
    environment_id=environment.id,
    resources=[{"type": "file", "file_id": data.id, "mount_path": "sales.csv"}],
)

with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id, events=[{"type": "user.message", "content": [{"type": "text", "text": TASK}]}]
    )
    for event in stream:
        if event.type == "agent.message":
            print("".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "agent.tool_result" and event.is_error:
            print("(a tool failed; the agent goes on)")
        elif event.type == "session.status_idle":
            break

FOLDER.mkdir(parents=True, exist_ok=True)
for file in client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"]):
    if not file.downloadable:
        continue  # the session's own copy of what was uploaded
    path = FOLDER / Path(file.filename).name
    client.beta.files.download(file.id).write_to_file(path)
    print(f"{path}  {file.mime_type}  {file.size_bytes} bytes")

usage = client.beta.sessions.retrieve(session.id).usage
print(f"{usage.input_tokens} tokens in, {usage.output_tokens} out")
