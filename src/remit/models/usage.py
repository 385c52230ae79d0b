"""What providers say they used, read in one place. A report that cannot be right is none: then the call is settled at its
hold (`gateway.endings.believed`)."""

from __future__ import annotations

from typing import NamedTuple

from remit.values import JsonObject, JsonValue, Usage

_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_INPUT_OF_MESSAGES = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
)


class Counted(NamedTuple):
    """What an answer used, as far as its reports can be believed."""

    usage: Usage
    is_known: bool


class _Unreadable(Exception):
    """A count that is none."""


class UsageReports:
    """The reports of one answer in the form of OpenAI's protocols; each counts from the beginning."""

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._is_in_doubt = False
        """The last report cannot be right, or words came after it."""

    @property
    def are_there(self) -> bool:
        """Whether a report came that nothing followed."""
        return self._usage is not None and not self._is_in_doubt

    def words_came(self) -> None:
        """A part of the answer came, which no report before it counts."""
        self._is_in_doubt = True

    def take(self, reported: JsonValue) -> None:
        """Take a report in. One that says nothing (null, empty, zeros) takes nothing back."""
        if reported is None or _says_nothing(reported):
            return
        usage = _plain(reported) if isinstance(reported, dict) else None
        self._is_in_doubt = usage is None
        if usage is not None and (self._usage is None or usage.total_tokens >= self._usage.total_tokens):
            self._usage = usage

    def counted(self) -> Counted:
        """What they come to."""
        if self._usage is None or self._is_in_doubt:
            return Counted(Usage(), is_known=False)
        return Counted(self._usage, is_known=True)


class MessagesUsage:
    """The reports of one answer in the form of the Messages protocol: what was read at its beginning, the rest at its
    end, where what was read may stand again."""

    def __init__(self) -> None:
        self.reported: JsonObject = {}
        """All of them as one."""
        self._is_final = False

    def begins(self, reported: JsonValue) -> None:
        """What the message said at its beginning."""
        if isinstance(reported, dict):
            self._merge(reported)

    def ends(self, reported: JsonValue) -> None:
        """What it said at its end."""
        if isinstance(reported, dict):
            self._merge(reported)
            self._is_final = self._is_final or not _says_nothing(reported.get("output_tokens"))

    def counted(self, *, is_empty: bool) -> Counted:
        """What they come to; an empty answer may have cost no output."""
        try:
            top, parts = _of_messages(self.reported), _of_iterations(self.reported)
        except _Unreadable:
            return Counted(Usage(), is_known=False)
        # The top level leaves some iterations out (compaction), so their sum counts where it is more.
        usage = parts if parts.total_tokens > top.total_tokens else top
        is_known = (self._is_final or is_empty) and usage.total_tokens > usage.output_tokens
        return Counted(usage, is_known) if is_known else Counted(Usage(), is_known=False)

    def _merge(self, reported: JsonObject) -> None:
        given = {name: value for name, value in reported.items() if value is not None}
        merged = self.reported | given
        if _read_by(merged) < _read_by(self.reported):  # a later report of nothing takes nothing back
            merged |= {name: self.reported[name] for name in _INPUT_OF_MESSAGES if name in self.reported}
        if _says_nothing(given.get("output_tokens")) and "output_tokens" in self.reported:
            merged["output_tokens"] = self.reported["output_tokens"]
        self.reported = merged


def count_of(value: JsonValue) -> int | None:
    """A count; whole floats are counts too. None where it is no count."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _plain(reported: JsonObject) -> Usage | None:
    """What one report of OpenAI's form says; None where it cannot be right."""
    details = _first_object(reported, "prompt_tokens_details", "input_tokens_details")
    spent_on = _first_object(reported, "completion_tokens_details", "output_tokens_details")
    try:
        prompt, completion = _count(reported, *_PROMPT), _count(reported, *_COMPLETION)
        total = _count(reported, "total_tokens")
        cached = max(
            _count(details, "cached_tokens", "cache_read_tokens") or 0,
            _count(reported, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens") or 0,
        )
        written = max(
            _count(details, "cache_write_tokens", "cache_creation_tokens") or 0,
            _count(reported, "cache_creation_input_tokens") or 0,
        )
        reasoning = max(_count(spent_on, "reasoning_tokens") or 0, _count(reported, "reasoning_tokens") or 0)
    except _Unreadable:
        return None
    if prompt is None and total is not None and completion is not None:
        prompt = total - completion
    if prompt is None or prompt < 0 or (completion is None and total is None):
        return None
    if cached + written > prompt:  # counted beside the prompt, or not at all what it says
        read = prompt + cached + written
        if total is None or completion is None or total < read + completion:
            return None
    else:
        read, prompt = prompt, prompt - cached - written
    output = max(completion or 0, (total or 0) - read)
    if total is None and reasoning > output:  # beside what was said
        output += reasoning
    if reasoning > output or (total is not None and total < read + (completion or 0)):
        return None  # less than its parts
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_input_tokens=cached,
        cache_creation_5m_input_tokens=written,
    )


def _of_messages(reported: JsonObject) -> Usage:
    """Raises _Unreadable."""
    by_ttl = _first_object(reported, "cache_creation")
    written_1h = _count(by_ttl, "ephemeral_1h_input_tokens") or 0
    written_5m = _count(by_ttl, "ephemeral_5m_input_tokens") or 0
    written = _count(reported, "cache_creation_input_tokens") or 0
    return Usage(
        input_tokens=_count(reported, "input_tokens") or 0,
        output_tokens=_count(reported, "output_tokens") or 0,
        cache_read_input_tokens=_count(reported, "cache_read_input_tokens") or 0,
        cache_creation_5m_input_tokens=max(written_5m, written - written_1h),
        cache_creation_1h_input_tokens=written_1h,
    )


def _of_iterations(reported: JsonObject) -> Usage:
    """Raises _Unreadable."""
    iterations = reported.get("iterations")
    parts = [
        _of_messages(iteration)
        for iteration in (iterations if isinstance(iterations, list) else [])
        if isinstance(iteration, dict)
    ]
    return Usage(**{name: sum(getattr(part, name) for part in parts) for name in Usage.__struct_fields__})


def _read_by(reported: JsonObject) -> int:
    """Tokens that were read, by a report of the Messages protocol."""
    try:
        usage = _of_messages({name: reported[name] for name in _INPUT_OF_MESSAGES if name in reported})
    except _Unreadable:
        return 1 << 62  # kept, so that it is seen in the end
    return usage.total_tokens


def _count(fields: JsonObject, *names: str) -> int | None:
    """The greatest of the counts by these names; None where none is given. Raises _Unreadable."""
    counts: list[int] = []
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        count = count_of(value)
        if count is None or count < 0:
            raise _Unreadable
        counts.append(count)
    return max(counts, default=None)


def _first_object(fields: JsonObject, *names: str) -> JsonObject:
    for name in names:
        value = fields.get(name)
        if isinstance(value, dict):
            return value
    return {}


def _says_nothing(value: JsonValue) -> bool:
    """Null, zero, empty, or made of nothing else."""
    if isinstance(value, dict):
        return all(_says_nothing(each) for each in value.values())
    if isinstance(value, list):
        return all(_says_nothing(each) for each in value)
    return not value
