"""The ground of all requests: strict structs, one decoder, and messages that name the field and the mend."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from remit.errors import InvalidRequest
from remit.schema.choices import find_choices

Json = Any  # Any: JSON of any shape; a recursive alias cannot be decoded into
JsonMap = dict[str, Any]  # Any: as above

METADATA_PAIRS_MAX = 16

MetadataKey = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=METADATA_PAIRS_MAX)]
MetadataPatch = dict[MetadataKey, MetadataValue | None]
"""Merged per key; null (and, for environments, an empty string) deletes the key."""

Order = Literal["asc", "desc"]


MODEL_ID = r"[^\x00-\x1f\x7f]{1,256}"
TOOL_NAME = r"[a-zA-Z0-9_-]{1,128}"
COUNTRY = r"[A-Z]{2}"
CENTS = r"[1-9][0-9]{0,10}"
DOLLARS = r"[0-9]{1,9}(\.[0-9]{1,9})?"
WORKSPACE_ID = r"wrkspc_[A-Za-z0-9_-]{1,64}"
KEY_ID = r"apikey_[A-Za-z0-9_-]{1,120}"
STREAM_ID = r"[a-z]{1,32}_[A-Za-z0-9_-]{1,120}"
DESPITE_REASONS = ("vacuous", "cannot_run", "work_unclear", "unseen", "drafted")
DESPITE = rf"({'|'.join(DESPITE_REASONS)})"
SCOPE = rf"(\*|operator|read|read:{STREAM_ID})"
FORMS = {
    MODEL_ID: "the id of a model, of 1 to 256 characters and without control characters",
    TOOL_NAME: "1 to 128 letters, digits, `_` and `-`",
    COUNTRY: "two capital letters, such as DE",
    CENTS: 'whole cents as text, such as "2500" for $25.00, and below a billion dollars',
    DOLLARS: 'dollars as text, such as "2.00", with at most 9 digits before and after the point',
    WORKSPACE_ID: "the id of a workspace, such as wrkspc_team",
    DESPITE: f"one of {', '.join(DESPITE_REASONS)}",
    KEY_ID: "the id of a key, such as apikey_…",
    STREAM_ID: "the id of a remit, a session or another stream (remit_…, sesn_…)",
    SCOPE: "`*`, `operator`, `read`, or `read:ID` with the id of a remit, a session or another stream",
}
"""What a text of this form is, in words, for whoever sends another one."""


def whole(form: str) -> msgspec.Meta:
    """Make the pattern of a text that has one of `FORMS` to its end."""
    return msgspec.Meta(pattern=_to_its_end(form))


def _to_its_end(form: str) -> str:
    return rf"^{form}$(?!\n)"  # `$` alone lets a line end behind it pass


ModelId = Annotated[str, whole(MODEL_ID)]
"""It comes back in a header of the answer, so nothing in it may end a line."""

VERSION_MAX = 2**31
Version = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)]
"""Of an agent."""
OUTPUT_TOKENS_MAX = 2**31 - 1
OutputTokens = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_TOKENS_MAX)]
"""What a caller lets a model write: more than any model can, and less than would overflow a hold."""

T = TypeVar("T")


class Params(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of everything a caller sends: an unknown field is refused by name."""

    IS_TOLD: ClassVar[bool] = True
    """Whether an error that lists the values of a tag names this one: older words, and what is read only to be refused,
    are not told."""


def decode(body: bytes, type: type[T]) -> T:
    """Read a request body. Raises InvalidRequest."""
    if not body.strip():
        raise InvalidRequest("The request body is empty; send a JSON object.")
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), type, body) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}. Send a JSON object.") from error
    except RecursionError as error:
        raise InvalidRequest("The request body is nested too deeply; flatten it.") from error


def convert(value: object, type: type[T], *, what: str) -> T:
    """Read a value that is already decoded (a query, a stored body). Raises InvalidRequest naming `what`."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), type, msgspec.json.encode(value), root=what) from error


_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<place>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$")
_OF_CHOICES = re.compile(r"^(?:Invalid (?:enum )?value |Expected )")
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$")


def _refusal(message: str, type: Any, body: bytes, *, root: str = "body") -> InvalidRequest:  # Any: a type
    found = _AT.match(message)
    assert found is not None  # the pattern ends in .*
    what, path = found["what"], (found["path"] or "").removeprefix(".")
    if found["place"]:
        path = f"{path} (a key)"
    unknown, missing = _UNKNOWN.match(what), _MISSING.match(what)
    field = path or root
    if unknown is not None:
        field = _join(path, unknown["name"])
        text = f"`{field}`: there is no such field; remove it or correct its name."
    elif missing is not None:
        field = _join(path, missing["name"])
        choices = find_choices(type, field, body)
        text = f"`{field}` is required; add it{f': {choices.wording}' if choices is not None else ''}."
    elif _OF_CHOICES.match(what) and (choices := find_choices(type, path, body)) and choices.explains(what):
        field = choices.place
        text = f"`{field}`: must be {choices.wording}{f', not {choices.given}' if choices.given else ''}."
    else:
        text = f"`{field}`: {_form_of(what) or what[:1].lower() + what[1:]}."
    code = "invalid_metadata" if field.startswith("metadata") else None
    return InvalidRequest(text, code=code)


def _form_of(message: str) -> str | None:
    """The words for a form that a text should have and has not."""
    _, is_form, regex = message.partition(" matching regex ")
    if not is_form:
        return None
    return next((f"must be {says}" for form, says in FORMS.items() if repr(_to_its_end(form)) == regex), None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def not_supported(field: str, what: str, mend: str) -> InvalidRequest:
    """A part of the wire that this release does not serve; said by name, never ignored."""
    return InvalidRequest(f"`{field}`: {what} not in this release. {mend}", code="not_supported")
