"""Reports of usage, read in one place. A report that cannot be right is none: then the call is settled at its
hold (`gateway.settlement.believed`)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from remit.values import JsonObject, JsonValue, Usage

_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_WRITTEN = ("output_tokens", "completion_tokens", "total_tokens")
_REASONING = ("reasoning_tokens", "thinking_tokens")
_INPUT_OF_MESSAGES = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
)


class CountedUsage(NamedTuple):
    """The usage of an answer, as far as its reports can be believed."""

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
        """Return whether a report came that nothing followed."""
        return self._usage is not None and not self._is_in_doubt

    def words_came(self) -> None:
        """Note that a part of the answer came, which no report before it counts."""
        self._is_in_doubt = True

    def take(self, reported: JsonValue) -> None:
        """Take a report in. One that says nothing (null, empty, zeros) takes nothing back."""
        if reported is None or _says_nothing(reported):
            return
        usage = _plain(reported) if isinstance(reported, dict) else None
        self._is_in_doubt = usage is None
        if usage is not None:
            self._usage = usage if self._usage is None else _later(self._usage, usage)

    def counted(self) -> CountedUsage:
        """Return the usage that the reports come to."""
        if self._usage is None or self._is_in_doubt:
            return CountedUsage(Usage(), is_known=False)
        return CountedUsage(self._usage, is_known=True)


class MessagesUsage:
    """The reports of one answer in the form of the Messages protocol: what was read at its beginning, the rest at its
    end, where what was read may stand again."""

    def __init__(self) -> None:
        self.reported: JsonObject = {}
        """All of them as one."""
        self._read = 0
        """Tokens that were read, by all of them."""
        self._is_final = False

    def begins(self, reported: JsonValue) -> None:
        """Take the usage that the message reported at its beginning."""
        if isinstance(reported, dict):
            self._merge(reported)

    def ends(self, reported: JsonValue) -> None:
        """Take the usage that the message reported at its end."""
        if isinstance(reported, dict):
            self._merge(reported)
            self._is_final = self._is_final or not _says_nothing(reported.get("output_tokens"))

    def counted(self, *, is_empty: bool) -> CountedUsage:
        """Return the usage that the reports come to; an empty answer may have cost no output."""
        try:
            top, parts = _of_messages(self.reported), _of_iterations(self.reported)
        except _Unreadable:
            return CountedUsage(Usage(), is_known=False)
        # The top level leaves some iterations out (compaction), so their sum counts where it is more.
        usage = parts if parts.total_tokens > top.total_tokens else top
        is_known = (self._is_final or is_empty) and usage.total_tokens > usage.output_tokens
        return CountedUsage(usage, is_known) if is_known else CountedUsage(Usage(), is_known=False)

    def _merge(self, reported: JsonObject) -> None:
        given = {name: value for name, value in reported.items() if value is not None}
        merged = self.reported | given
        # Each counts from the beginning, so what was written does not become less.
        for name in _WRITTEN:
            before, now = count_of(self.reported.get(name)), count_of(given.get(name))
            if before is not None and now is not None and now < before:
                merged[name] = self.reported[name]
        read = _read_by(merged)
        if read < self._read:  # a later report of nothing takes nothing back
            merged |= {name: self.reported[name] for name in _INPUT_OF_MESSAGES if name in self.reported}
            read = _read_by(merged)
        self._read = read
        known = read + (count_of(merged.get("output_tokens")) or 0)
        if given.get("total_tokens") is None and (count_of(merged.get("total_tokens")) or 0) < known:
            merged.pop("total_tokens", None)  # of the beginning alone
        self.reported = merged


def count_of(value: JsonValue) -> int | None:
    """A count; whole floats are counts too. None where it is no count."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _plain(reported: JsonObject) -> Usage | None:
    """What one report of OpenAI's form says; None where it cannot be right."""
    try:
        details = _details(reported, *_PROMPT)
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
        read_parts = _parts(details)
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
    if any(part > read for part in read_parts):
        return None  # less than its parts
    try:
        output = _written(reported, completion, read)
    except _Unreadable:
        return None
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_input_tokens=cached,
        cache_creation_5m_input_tokens=written,
    )


def _written(reported: JsonObject, completion: int | None, read: int) -> int:
    """What was written, thinking counted once. Raises _Unreadable where it is less than its parts."""
    total, spent_on = _count(reported, "total_tokens"), _details(reported, *_COMPLETION)
    reasoning = max(_count(spent_on, *_REASONING) or 0, _count(reported, *_REASONING) or 0)
    output = max(completion or 0, (total or 0) - read)
    if total is None and reasoning > output:  # beside what was said
        output += reasoning
    if reasoning > output or (total is not None and total < read + (completion or 0)):
        raise _Unreadable
    if any(part > output for part in _parts(spent_on)):
        raise _Unreadable
    return output


def _later(before: Usage, now: Usage) -> Usage:
    """Two reports as one. Each counts from the beginning, so neither side becomes less; where as much was read, the later
    one knows more of it."""
    reading = (
        now if now.total_tokens - now.output_tokens >= before.total_tokens - before.output_tokens else before
    )
    return msgspec.structs.replace(reading, output_tokens=max(before.output_tokens, now.output_tokens))


def _of_messages(reported: JsonObject) -> Usage:
    """Raises _Unreadable."""
    by_ttl = _object(reported.get("cache_creation"))
    by_name = {name: _count(by_ttl, name) or 0 for name in by_ttl}
    written_5m = by_name.pop("ephemeral_5m_input_tokens", 0)
    written_1h = sum(by_name.values())  # what is kept for longer costs more
    written = _count(reported, "cache_creation_input_tokens") or 0
    usage = Usage(
        input_tokens=_count(reported, "input_tokens") or 0,
        cache_read_input_tokens=_count(reported, "cache_read_input_tokens") or 0,
        cache_creation_5m_input_tokens=max(written_5m, written - written_1h),
        cache_creation_1h_input_tokens=written_1h,
    )
    read, completion = usage.total_tokens, _count(reported, *_COMPLETION)
    if (_count(reported, "prompt_tokens") or 0) > read:
        raise _Unreadable
    if "output_tokens" not in reported:
        return usage
    return msgspec.structs.replace(usage, output_tokens=_written(reported, completion, read))


def _of_iterations(reported: JsonObject) -> Usage:
    """Raises _Unreadable."""
    iterations = reported.get("iterations") or []
    if not isinstance(iterations, list):
        raise _Unreadable
    return sum((_of_messages(_object(iteration)) for iteration in iterations), Usage())


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


def _details(reported: JsonObject, *names: str) -> JsonObject:
    """What is said of the parts of these counts, under all their names."""
    found: JsonObject = {}
    for name in names:
        value = reported.get(f"{name}_details")
        for part, count in value.items() if isinstance(value, dict) else ():
            if not _says_nothing(count):
                found[part] = count
    return found


def _parts(details: JsonObject) -> list[int]:
    """Counts of tokens that are part of one count. Raises _Unreadable."""
    return [_count(details, name) or 0 for name in details if name.endswith("_tokens")]


def _object(value: JsonValue) -> JsonObject:
    """Empty where nothing is said. Raises _Unreadable."""
    if isinstance(value, dict):
        return value
    if _says_nothing(value):
        return {}
    raise _Unreadable


def _says_nothing(value: JsonValue) -> bool:
    """Null, zero, empty, or made of nothing else."""
    if isinstance(value, dict):
        return all(_says_nothing(each) for each in value.values())
    if isinstance(value, list):
        return all(_says_nothing(each) for each in value)
    return not value
