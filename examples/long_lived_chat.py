"""A chat that goes on: over a lost connection, a restart of the server, and a restart of this program.

    python examples/long_lived_chat.py [FILE]

FILE (`chat.id` if none is given) keeps the session's id. Type a message, read the answer; the end of input ends the
program, not the chat. To reconnect it opens the stream first, then lists the history, and drops what it has seen: in
this order nothing is missed.
"""

import os
import sys
import time
import uuid
from pathlib import Path

import httpx2
from anthropic import Anthropic, APIConnectionError, InternalServerError

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
FILE = Path(sys.argv[1] if len(sys.argv) > 1 else "chat.id")
LOST = (APIConnectionError, InternalServerError, httpx2.TransportError)
RETRY_SECONDS = 0.5

client = Anthropic()
seen: set[str] = set()


def open_chat() -> str:
    """The session of the file, or a new one."""
    if FILE.exists():
        return FILE.read_text().strip()
    agent = client.beta.agents.create(name="Companion", model=MODEL, system="You are good company.")
    environment = client.beta.environments.create(name="long-lived-chat")
    session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    FILE.write_text(session.id)
    return session.id


def show(event) -> None:
    """One event that is new and processed."""
    if event.type in ("user.message", "agent.message"):
        who = "you" if event.type == "user.message" else "it"
        print(f"{who}: {''.join(block.text for block in event.content if block.type == 'text')}", flush=True)


def is_new(event) -> bool:
    """Whether it has not been seen. Messages that wait in the queue come again, with a time, when they are read."""
    if getattr(event, "processed_at", None) is None or event.id in seen:
        return False
    seen.add(event.id)
    return True


def send(session_id: str, text: str) -> str:
    """Send a message exactly once, however often that must be tried; returns its id."""
    key = str(uuid.uuid4())
    while True:
        try:
            sent = client.beta.sessions.events.send(
                session_id,
                events=[{"type": "user.message", "content": [{"type": "text", "text": text}]}],
                extra_headers={"Idempotency-Key": key},
            )
            return sent.data[0].id
        except LOST as error:
            print(f"(not sent: {type(error).__name__}; trying again)", flush=True)
        time.sleep(RETRY_SECONDS)


def follow(session_id: str, message_id: str) -> None:
    """Show what happens until the answer to this message is complete, whatever happens to the connection."""
    while True:
        try:
            with client.beta.sessions.events.stream(session_id) as stream:
                past = client.beta.sessions.events.list(session_id)
                was_read = False
                for events in (past, stream):
                    for event in events:
                        if is_new(event):
                            show(event)
                        # Also what is not new decides: the history may have the end already.
                        if event.id == message_id and event.processed_at:
                            was_read = True
                        if event.type == "session.status_idle" and was_read:
                            return
        except LOST as error:
            print(f"(connection lost: {type(error).__name__}; trying again)", flush=True)
        time.sleep(RETRY_SECONDS)


session_id = open_chat()
for event in client.beta.sessions.events.list(session_id):
    if is_new(event):
        show(event)
print("> ", end="", flush=True)
for line in sys.stdin:
    follow(session_id, send(session_id, line.strip()))
    print("> ", end="", flush=True)
print()
