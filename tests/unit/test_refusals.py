"""What a refusal is about, in the words of the providers that wrote it."""

from __future__ import annotations

import msgspec
import pytest

from remit.models.http import status_failure
from remit.session.refusals import Place, TooLong, blamed_blocks, read_too_long
from remit.values import JsonObject

TOO_LONG = {
    # provider or server, as its users quote it: sent, window
    "Anthropic": ("prompt is too long: 225459 tokens > 200000 maximum", 225459, 200000),
    "Anthropic, with the answer": (
        "input length and `max_tokens` exceed context limit: 190000 + 16384 > 200000, decrease input length",
        190000,
        200000,
    ),
    "Anthropic, bytes": ("Request exceeds the maximum size", None, None),
    "Anthropic, 413": ("request_too_large: Request exceeds the maximum allowed number of bytes", None, None),
    "Bedrock": ("Input is too long for requested model.", None, None),
    "OpenAI": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens.",
        8545,
        8192,
    ),
    "OpenAI, with the completion": (
        "This model's maximum context length is 8191 tokens, however you requested 10346 tokens "
        "(10346 in your prompt; 5 for the completion). Please reduce your prompt",
        10346,
        8191,
    ),
    "OpenAI Responses": ("Your input exceeds the context window of this model.", None, None),
    "OpenAI, by its code": ("context_length_exceeded", None, None),
    "Azure": ("Input tokens exceed the configured limit of 272000 tokens.", None, None),
    "OpenRouter": (
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 150000 tokens",
        150000,
        131072,
    ),
    "vLLM": (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages",
        5000,
        4096,
    ),
    "vLLM, the prompt alone": (
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
        None,
        None,
    ),
    "SGLang": (
        "Requested token count exceeds the model's maximum context length of 32768 tokens. "
        "You requested a total of 40000 tokens",
        40000,
        32768,
    ),
    "SGLang, the input": (
        "The input (40000 tokens) is longer than the model's context length (32768 tokens).",
        None,
        None,
    ),
    "LiteLLM": ("litellm.ContextWindowExceededError: AnthropicException - prompt is too long", None, None),
    "llama.cpp": ("the request exceeds the available context size, try increasing it", None, None),
    "llama.cpp, with numbers": (
        "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        9000,
        8192,
    ),
    "llama.cpp, by its type": ("exceed_context_size_error", None, None),
    "LM Studio": (
        "The number of tokens to keep from the initial prompt is greater than the context length.",
        None,
        None,
    ),
    "LM Studio, later": ("Context size has been exceeded.", None, None),
    "Ollama": ("the input length exceeds the context length", None, None),
    "Gemini": (
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        1196265,
        1048575,
    ),
    "xAI": (
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        537812,
        131072,
    ),
    "Groq": ("Please reduce the length of the messages or completion.", None, None),
    "Mistral": (
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        None,
        None,
    ),
    "Kimi": ("Your request exceeded model token limit: 262144 (requested: 270000)", 270000, 262144),
    "MiniMax": ("invalid params, context window exceeds limit (2013)", None, None),
    "Copilot": ("prompt token count of 140000 exceeds the limit of 128000", 140000, 128000),
    "Qwen": (
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]",
        None,
        None,
    ),
    "DeepSeek": (
        "This model's maximum context length is 65536 tokens. However, you requested 71000 tokens "
        "(63000 in the messages, 8000 in the completion).",
        63000,
        65536,
    ),
    "Fireworks": ("The prompt is too long: 140000, model maximum context length: 131071", None, None),
    "Together": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193: too many tokens",
        None,
        None,
    ),
}
OTHER = (
    "max_tokens: 64000 > 32000, which is the maximum allowed number of output tokens",
    "Number of request tokens has exceeded your per-minute rate limit",
    "You exceeded your current quota, please check your plan",
    "messages.1.content.0.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes",
    "Invalid 'messages[8].tool_calls[0].function.name': string too long. Expected a string with maximum length 64",
    "Invalid 'tools': array too long. Expected an array with maximum length 128",
    "text content blocks must be non-empty",
    "model not found",
    "invalid x-api-key",
)


@pytest.mark.parametrize("who", TOO_LONG)
def test_too_long_is_understood_in_every_providers_words(who: str) -> None:
    message, sent, window = TOO_LONG[who]
    found = read_too_long(f"server answered 400: {message}")
    assert found is not None
    assert (found.sent_tokens, found.window_tokens) == (sent, window)
    for status in (400, 413, 422, 500):
        body = msgspec.json.encode({"error": {"message": message}})
        assert status_failure("server", status, body, {}).reason == "too_long"


@pytest.mark.parametrize("message", OTHER)
def test_what_is_about_something_else_is_not_taken_for_too_long(message: str) -> None:
    assert read_too_long(message) is None


def test_a_body_that_is_too_large_is_told_by_its_status_alone() -> None:
    failure = status_failure("server", 413, b"", {})
    assert (failure.reason, failure.billed, failure.is_retryable) == ("too_long", "no", False)
    assert read_too_long("nothing of the kind") is None
    assert TooLong() == TooLong(sent_tokens=None, window_tokens=None)


IMAGE: JsonObject = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
PDF: JsonObject = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
TEXT: JsonObject = {"type": "text", "text": "x"}
THOUGHT: JsonObject = {"type": "thinking", "thinking": "", "signature": "openai:rs:x"}
USE: JsonObject = {"type": "tool_use", "id": "u", "name": "n", "input": {}}
RESULT: JsonObject = {"type": "tool_result", "tool_use_id": "u", "content": [TEXT, IMAGE]}
MESSAGES: list[JsonObject] = [
    {"role": "user", "content": [IMAGE, PDF, TEXT]},
    {"role": "assistant", "content": [THOUGHT, TEXT, USE]},
    {"role": "user", "content": [RESULT, TEXT]},
]
BLAMED = {
    "messages.0.content.1.document.source: the PDF specified was not valid": [Place(0, 1)],
    "messages.0.content.0.image.source.base64.data: image exceeds 5 MB maximum": [Place(0, 0)],
    "messages.2.content.0.tool_result.content.1.image.source: Could not process image": [Place(2, 0, 1)],
    "messages.2.content.0: something about a result": [Place(2, 0)],
    # A driver left out what another model thought before it.
    "messages.1.content.1.tool_use.input: Input should be a valid dictionary": [Place(1, 2)],
    "messages.1.content.0.thinking.signature: Invalid": [Place(1, 0)],
    "Invalid 'messages[0].content[1].file': unsupported": [Place(0, 1)],
    "Could not process image": [Place(2, 0, 1)],
    "Invalid image data": [Place(2, 0, 1)],
    "this model does not support image input": [Place(2, 0, 1)],
    "The PDF specified is password protected": [Place(0, 1)],
    "A maximum of 100 PDF pages may be provided": [Place(0, 1)],
    "messages.9.content.0.text: out of bounds": [],
    "model: not found": [],
    "invalid x-api-key": [],
    "temperature: must be at most 1": [],
}


@pytest.mark.parametrize("message", BLAMED)
def test_the_block_that_a_refusal_is_about_is_found(message: str) -> None:
    assert blamed_blocks(f"anthropic answered 400: {message}", MESSAGES) == BLAMED[message]
