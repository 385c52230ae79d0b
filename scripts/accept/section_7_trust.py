"""7: nothing lost, nothing spent for nothing, no session dead, and whatever a model server says is read."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from place import Folder, Json, Ran, check, pytest, run, steps

FIX = "sed -i 's/return amount - discount/return round(amount * (1 - discount) + 1e-9, 2)/' prices.py"
SHUT = "mkdir -p .kept/sub; echo v > .kept/sub/v; chmod 644 .kept; rm notes; mkdir notes; echo 1 > notes/1"


def script(*commands: str) -> Json:
    """A model that runs these one after the other."""
    uses: list[Json] = [
        {"text": "I look.", "tool_uses": [{"name": "bash", "input": {"command": command}}]}
        for command in commands
    ]
    return {"steps": [*uses, {"text": "Done."}], "default": {"text": "Done."}}


SCRIPTS: dict[str, Json] = {
    "quick": script(FIX),
    "slow": script("sleep 60", FIX),
    "kinds": script(FIX + "; " + SHUT),
}
PRICES = "".join(
    f'\n[prices."scripted/{name}"]\ninput_per_million_usd = 3.0\noutput_per_million_usd = 15.0\n'
    for name in SCRIPTS
)
place = Folder(SCRIPTS, PRICES)
USE: Json = {
    "index": 0,
    "id": "call_0",
    "type": "function",
    "function": {"name": "bash", "arguments": '{"command":"true"}'},
}


class OddServer(ThreadingHTTPServer):
    """Speaks Chat Completions, and says of every answer that it used nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(json.dumps({"data": [{"id": "odd", "max_model_len": 8_192}]}), "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        said: list[Json] = [
            {"choices": [{"index": 0, "delta": {"tool_calls": [USE]}, "finish_reason": "tool_calls"}]},
            {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
        ]
        events = "".join(f"data: {json.dumps(event)}\n\n" for event in said)
        self._answer(events + "data: [DONE]\n\n", "text/event-stream")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: str, kind: str) -> None:
        content = body.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def last(ran: Ran) -> Json:
    return ran.lines[-1]


def spent(remit_id: str) -> Json:
    return last(place.remit("show", remit_id, "--json"))["spent"]


def an_agent_that_shuts_folders_and_changes_kinds_loses_nothing() -> None:
    (place.project / "notes").write_text("none\n")
    place.git()
    ran = place.do("scripted/kinds").expect(0)
    place.remit("apply", last(ran)["id"]).expect(0)
    check((place.project / "notes/1").read_text() == "1\n", "a file that became a folder")
    (place.project / ".kept").chmod(0o755)
    check((place.project / ".kept/sub/v").read_text() == "v\n", "what stood in a folder without its x bit")


def looking_at_a_killed_remit_begins_nothing() -> None:
    process = place.start(*place.do_words("scripted/slow"))
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "remit.working":
            break
    else:
        raise AssertionError("it never worked")
    remit_id = event["remit_id"]
    time.sleep(1)
    process.kill()
    process.communicate()
    before = spent(remit_id)
    for words in (["ls"], ["show"], ["why"], ["receipt"], ["check"], ["watch"]):
        place.remit(*words, *([] if words == ["ls"] else [remit_id])).expect(0)
    check("owner" in place.remit("doctor").out, "doctor says who owns the folder")
    check(spent(remit_id) == before, "looking spent")
    said = place.data / "owner.json"
    check(not said.exists() or not _lives(int(json.loads(said.read_text())["pid"])), "looking left an owner")
    place.remit("do", "--resume", remit_id, "--yes", "--json").expect(0)


def a_budget_that_was_reached_is_raised() -> None:
    ran = place.do("scripted/quick", budget="0.006")
    check(last(ran)["status"] == "budget_reached", f"{last(ran)}")
    remit_id = last(ran)["id"]
    place.remit("do", "--resume", remit_id, "--yes").expect(1, "--budget AMOUNT")
    place.remit("raise", remit_id, "0.00001").expect(2)
    ran = place.remit("do", "--resume", remit_id, "--budget", "2", "--yes", "--json").expect(0)
    check(last(ran)["verified"] is True, f"{last(ran)}")
    place.remit("raise", remit_id, "3").expect(2)
    place.remit("check", remit_id).expect(0)


def an_outage_pauses_and_costs_nothing() -> None:
    closed = {"REMIT_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    words = place.do_words("local/none", "--wait", "1s", budget="100000tokens")
    ran = place.remit(*words, **closed).expect(75)
    check(last(ran)["type"] == "remit.paused", f"{last(ran)}")
    remit_id = last(ran)["id"]
    check(spent(remit_id)["tokens"] == 0, "a refused connection was paid")
    place.remit("why", remit_id).expect(0, "paused")


def a_server_that_counts_nothing_does_not_get_past_the_budget() -> None:
    server = OddServer()
    ran = place.remit(
        *place.do_words("local/odd", "--max-iterations", "1", budget="20000tokens"),
        REMIT_OPENAI_BASE_URL=server.url,
    )
    server.shutdown()
    check(last(ran)["status"] == "budget_reached", f"{last(ran)}")
    check(0 < last(ran)["spent"]["tokens"] <= 20_000, f"{last(ran)['spent']}")


def the_owner_lives_in_the_background_and_is_stopped() -> str:
    background = {"REMIT_OWNER": "background"}
    place.remit(*place.do_words("scripted/quick"), **background).expect(0)
    owner = json.loads((place.data / "owner.json").read_text())
    pid = int(owner["pid"])
    try:
        check(os.getsid(pid) == pid, "it is in somebody else's session")
        detached = place.remit(*place.do_words("scripted/slow", "--detach"), **background).expect(0)
        began = time.monotonic()
        place.remit("stop", "--all", **background).expect(0, "Nothing runs")
        seconds = time.monotonic() - began
        check(json.loads((place.data / "owner.json").read_text())["pid"] == pid, "`stop --all` ended it")
        place.remit("why", last(detached)["remit_id"], **background).expect(0, "interrupted")
        place.remit("stop", **background).expect(0)
        check(not _lives(pid), "it lives on")
    finally:
        if _lives(pid):
            os.kill(pid, signal.SIGKILL)
    place.remit("stop", **background).expect(0, "No process owns")
    return f"`remit stop --all` took {seconds:.1f} s with its own start"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def what_is_sent_breaks_no_rule_and_what_comes_is_read() -> str:
    return pytest("tests/corpus", "tests/property/test_sendable_histories.py")


def deleted_sessions_leave_nothing_behind() -> str:
    ran = run([sys.executable, "scripts/soak", "--minutes", "1", "--workers", "8"], seconds_max=300)
    return next(line for line in ran.out.splitlines() if "made, used and deleted" in line)


if __name__ == "__main__":
    sys.exit(
        steps(
            looking_at_a_killed_remit_begins_nothing,
            a_budget_that_was_reached_is_raised,
            an_outage_pauses_and_costs_nothing,
            a_server_that_counts_nothing_does_not_get_past_the_budget,
            the_owner_lives_in_the_background_and_is_stopped,
            an_agent_that_shuts_folders_and_changes_kinds_loses_nothing,
            what_is_sent_breaks_no_rule_and_what_comes_is_read,
            deleted_sessions_leave_nothing_behind,
        )
    )
