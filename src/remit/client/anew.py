"""The line that makes a remit like this one anew, for one that cannot go on. Pure: JSON of the wire in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from remit.wording import Json, as_list, as_object

INPUT_PATH = "remit.input_path"
"""The metadata key under which a remit remembers the folder it came from."""
MAX_ITERATIONS_DEFAULT = 3
OWN_AGENT_ID = "agent_remit_coder"
"""Of remits that name no agent."""


def anew_line(remit: Json) -> str:
    """Return the command to type; what is not known here (a rubric's file) stands in capitals."""
    words = ["remit", "do", shlex.quote(str(remit.get("outcome") or ""))]
    folder = as_object(remit.get("metadata")).get(INPUT_PATH)
    if isinstance(folder, str):
        words += ["--input", shlex.quote(folder)]
    elif remit.get("input_id") is not None:
        words += ["--input", "DIR"]
    verifiers = [as_object(verifier) for verifier in as_list(remit.get("verifiers"))]
    for verifier in verifiers:
        match verifier.get("type"):
            case "command":
                words += ["--verify", shlex.quote(str(verifier.get("command")))]
            case "rubric":
                words += ["--rubric", "FILE"]
            case _:  # one that the command line has no option for
                words += ["--verify", "COMMAND"]
    if any(verifier.get("isolate") is True for verifier in verifiers):
        words.append("--isolate")
    words += budget_words(as_object(remit.get("budget")))
    for option, field in (("--protect", "protect"), ("--unprotect", "unprotect"), ("--work", "work")):
        words += _each(option, as_list(remit.get(field)))
    words += _each("--toolchain", as_list(remit.get("toolchains")))
    if command := as_object(remit.get("setup")).get("command"):
        words += ["--setup", shlex.quote(str(command))]
    if environment := as_object(remit.get("environment")).get("id"):
        words += ["--environment", shlex.quote(str(environment))]
    if remit.get("model"):
        words += ["--model", shlex.quote(str(remit["model"]))]
    agent_id = as_object(remit.get("agent")).get("id")
    if agent_id not in (None, OWN_AGENT_ID):
        words += ["--agent", shlex.quote(str(agent_id))]
    if remit.get("max_iterations") not in (None, MAX_ITERATIONS_DEFAULT):
        words += ["--max-iterations", str(remit["max_iterations"])]
    return " ".join(words)


def budget_words(budget: Json) -> list[str]:
    """A budget as it is typed."""
    words: list[str] = []
    if budget.get("usd") is not None:
        words += ["--budget", str(budget["usd"])]
    if budget.get("tokens") is not None:
        words += ["--budget", f"{budget['tokens']}tokens"]
    return words


def raise_line(remit_id: object) -> str:
    """Return the command that goes on with a remit that reached its budget."""
    return f"remit do --resume {remit_id} --budget AMOUNT"


def _each(option: str, values: Sequence[object]) -> list[str]:
    return [word for value in values for word in (option, shlex.quote(str(value)))]
