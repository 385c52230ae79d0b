"""A tour with the older wire generation of the Python SDK (0.121), run by its own interpreter.

    python tour.py BASE_URL KEY

Ends with 0 when every step did what it should; prints one JSON object: what was called, and each field that is missing
or of another type than that SDK says. Fields it does not know yet are no finding.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import anthropic

from parity.compare import Comparison

MODEL = "scripted/inline"
STEPS = {
    "steps": [
        {"text": "I look.", "tool_uses": [{"name": "lookup", "input": {"question": "life"}}]},
        {"text": "It is 42."},
    ]
}
LOOKUP = {
    "type": "custom",
    "name": "lookup",
    "description": "Look something up.",
    "input_schema": {"type": "object", "properties": {"question": {"type": "string"}}},
}


class Tour:
    """Each call once, its raw answer compared with the SDK's types."""

    def __init__(self, base_url: str, key: str) -> None:
        self.client = anthropic.Anthropic(api_key=key, base_url=base_url, timeout=30)
        self.called: list[str] = []
        self.findings: list[str] = []
        self._comparison = Comparison({})

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        path, _, last = name.rpartition(".")
        resource = attrgetter(path)(self.client)
        raw = getattr(resource.with_raw_response, last)(*args, **kwargs)
        self.called.append(name)
        type = typing.get_type_hints(getattr(resource, last), include_extras=True)["return"]
        if not self._is_page(type):
            self._compare(raw.http_response.json(), type, name)
            return raw.parse()
        page = raw.parse()
        for number, entry in enumerate(raw.http_response.json()["data"]):
            self._compare(entry, _item_type(page), f"{name}[{number}]")
        return page

    def _is_page(self, type: Any) -> bool:
        return "Page" in getattr(typing.get_origin(type) or type, "__name__", "")

    def _compare(self, value: Any, type: Any, place: str) -> None:
        found = self._comparison.findings(value, type, place)
        self.findings += [
            one for one in found if ": is not in " not in one and "no member of the union" not in one
        ]

    def make(self) -> None:
        agent = self.call("beta.agents.create", name="old", model=MODEL, tools=[LOOKUP])
        agent = self.call("beta.agents.update", agent.id, version=agent.version, description="Older.")
        assert agent.version == 2
        self.call("beta.agents.retrieve", agent.id)
        self.call("beta.agents.list", limit=5)
        self.call("beta.agents.versions.list", agent.id)
        environment = self.call("beta.environments.create", name="old")
        self.call("beta.environments.update", environment.id, description="Older.")
        self.call("beta.environments.retrieve", environment.id)
        self.call("beta.environments.list")
        session = self.call(
            "beta.sessions.create", agent=agent.id, environment_id=environment.id, title="Old"
        )
        self.turn(session.id)
        session = self.call("beta.sessions.retrieve", session.id)
        assert session.status == "idle", session.status
        self.call("beta.sessions.update", session.id, title="Older")
        self.call("beta.sessions.list", limit=5)
        (thread,) = self.call("beta.sessions.threads.list", session.id).data
        self.call("beta.sessions.threads.retrieve", thread.id, session_id=session.id)
        events = self.call("beta.sessions.events.list", session.id).data
        texts = [event.content[0].text for event in events if event.type == "agent.message"]
        assert texts == ["I look.", "It is 42."], texts
        self.files(session.id)
        self.messages()
        self.refusals()
        self.call("beta.sessions.archive", session.id)
        self.call("beta.sessions.delete", session.id)
        self.call("beta.environments.delete", environment.id)
        self.call("beta.agents.archive", agent.id)

    def turn(self, session_id: str) -> None:
        """Stream first, send, answer the custom tool, wait for the end."""
        with self.client.beta.sessions.events.stream(session_id, event_deltas=["agent.message"]) as stream:
            self.called.append("beta.sessions.events.stream")
            text = f"```script\n{json.dumps(STEPS)}\n```"
            message = {"type": "user.message", "content": [{"type": "text", "text": text}]}
            self.call("beta.sessions.events.send", session_id, events=[message])
            for event in stream:
                if event.type == "agent.custom_tool_use":
                    answer = {
                        "type": "user.custom_tool_result",
                        "custom_tool_use_id": event.id,
                        "content": [{"type": "text", "text": "42"}],
                    }
                    self.call("beta.sessions.events.send", session_id, events=[answer])
                if event.type == "session.status_idle" and event.stop_reason.type == "end_turn":
                    return
        raise AssertionError("the stream ended before the turn")

    def files(self, session_id: str) -> None:
        file = self.call("beta.files.upload", file=("data.csv", b"a,b\n1,2\n", "text/csv"))
        self.call("beta.files.retrieve_metadata", file.id)
        self.call("beta.files.list", limit=5)
        self.call("beta.sessions.resources.add", session_id, type="file", file_id=file.id)
        self.call("beta.sessions.resources.list", session_id)
        assert self.client.beta.files.download(file.id).read() == b"a,b\n1,2\n"
        self.call("beta.files.delete", file.id)

    def messages(self) -> None:
        text = "```script\n" + json.dumps({"steps": [{"text": "Hello, you."}]}) + "\n```"
        asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
        for path in ("messages", "beta.messages"):
            assert self.call(f"{path}.count_tokens", **asked).input_tokens > 0
            with attrgetter(path)(self.client).stream(max_tokens=100, **asked) as stream:
                assert stream.get_final_text() == "Hello, you."

    def refusals(self) -> None:
        error = _raised(anthropic.BadRequestError, lambda: self.client.beta.vaults.create(display_name="v"))
        assert "client.beta.vaults.create" in str(error), error
        error = _raised(anthropic.NotFoundError, lambda: self.client.beta.sessions.retrieve("sesn_none"))
        assert error.request_id, error


def _raised(type: Any, call: Callable[[], object]) -> Any:
    try:
        call()
    except type as error:
        return error
    raise AssertionError(f"{type.__name__} was not raised")


def _item_type(page: Any) -> Any:
    """What stands in the list of a page."""
    return typing.get_args(type(page).model_fields["data"].annotation)[0]


def main(base_url: str, key: str) -> None:
    tour = Tour(base_url, key)
    tour.make()
    told = {"called": tour.called, "findings": tour.findings, "version": anthropic.__version__}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
