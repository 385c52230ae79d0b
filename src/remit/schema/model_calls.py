"""Model calls in the protocols of providers: what each call of them has, and for the rest their own documentation."""

from __future__ import annotations

from typing import TypedDict

from remit.schema.messages import GivenMessages, read_counted, read_messages
from remit.schema.openai import ChatParams, ResponsesParams
from remit.schema.operation import Operation
from remit.schema.wire import JsonMap


class TokenCount(TypedDict):
    """The length of a prompt."""

    input_tokens: int


_MODEL: JsonMap = {"type": "string", "examples": ["scripted/inline"]}
_STREAM: JsonMap = {"type": "boolean"}
_TURNS: JsonMap = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"type": "string", "examples": ["user"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        },
        "required": ["role", "content"],
    },
}


def _model_call(*required: str, **properties: JsonMap) -> JsonMap:
    fields = {"model": _MODEL, **properties}
    return {"type": "object", "properties": fields, "required": ["model", *required]}


MESSAGES = Operation(
    "POST",
    "/v1/messages",
    "Call a model: Anthropic Messages",
    body=GivenMessages,
    reads=read_messages,
    body_schema=_model_call(
        "messages", "max_tokens", messages=_TURNS, max_tokens={"type": "integer"}, stream=_STREAM
    ),
    answer=JsonMap,
    also_streams=True,
    error_form="messages",
)
COUNT_TOKENS = Operation(
    "POST",
    "/v1/messages/count_tokens",
    "Count the tokens of a prompt",
    body=GivenMessages,
    reads=read_counted,
    body_schema=_model_call("messages", messages=_TURNS),
    answer=TokenCount,
    error_form="messages",
)
CHAT_COMPLETIONS = Operation(
    "POST",
    "/v1/chat/completions",
    "Call a model: OpenAI Chat Completions",
    body=ChatParams,
    body_schema=_model_call("messages", messages=_TURNS, stream=_STREAM),
    answer=JsonMap,
    also_streams=True,
    error_form="openai",
)
RESPONSES = Operation(
    "POST",
    "/v1/responses",
    "Call a model: OpenAI Responses",
    body=ResponsesParams,
    body_schema=_model_call("input", input={"anyOf": [{"type": "string"}, _TURNS]}, stream=_STREAM),
    answer=JsonMap,
    also_streams=True,
    error_form="openai",
)
