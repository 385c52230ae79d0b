"""What a refusal is about, in the words of the providers that wrote it."""

from __future__ import annotations

import msgspec
import pytest

from remit.models.http.failures import status_failure
from remit.session.refusals import BlockPlace, TooLong, blamed_blocks, read_too_long
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
        9000,
        8192,
    ),
    "SGLang": (
        "Requested token count exceeds the model's maximum context length of 32768 tokens. "
        "You requested a total of 40000 tokens",
        40000,
        32768,
    ),
    "SGLang, the input": (
        "The input (40000 tokens) is longer than the model's context length (32768 tokens).",
        40000,
        32768,
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
        40000,
        32768,
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


UNSEEN = (
    # Sentences that nobody wrote a word of the table for: servers' sources and their users' reports.
    (
        "messages: total input tokens 210000 exceed the model's context window of 200000",
        210000,
        200000,
    ),  # anthropic-input-tokens
    (
        "The long context beta is not yet available for this subscription. prompt length 250000 exceeds 200000",
        250000,
        200000,
    ),  # anthropic lctx
    (
        "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.",
        None,
        None,
    ),  # bedrock nova
    (
        "This model's maximum context length is 131072. Please reduce the length of the prompt",
        None,
        131072,
    ),  # bedrock mistral
    (
        "Malformed input request: expected maxLength: 42000, actual: 53000, please reformat your input and try again.",
        None,
        None,
    ),  # bedrock malformed
    (
        "This model's maximum context length is 16385 tokens. However, your messages resulted in 17000 tokens (16500 in the messages, 500 in the functions). Please reduce the length of the messages or functions.",
        16500,
        16385,
    ),  # azure
    (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
        None,
        None,
    ),  # openai image toks
    (
        "Unable to submit request because the input token count is 40000 but model only supports up to 32768. Reduce the input token count and try again.",
        40000,
        32768,
    ),  # gemini vertex
    ("The input token count exceeds the maximum number of tokens allowed 1048576.", None, None),  # gemini2
    (
        "too many tokens: total number of tokens in the prompt cannot exceed 128000 - received 140000. Try using a shorter prompt",
        None,
        None,
    ),  # cohere
    (
        "too many tokens: size limit exceeded by 1234 tokens. Try using shorter or fewer inputs.",
        None,
        None,
    ),  # cohere v2
    (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        40000,
        32768,
    ),  # mistral
    ("Too many tokens overall: 34000 > 32768", 34000, 32768),  # mistral2
    ("Invalid request: Your request exceeded model token limit: 131072", None, None),  # kimi
    ("Prompt 超长", None, None),  # zhipu
    ('{"code":"1261","message":"Prompt exceeds max length"}', None, None),  # zhipu 1261
    (
        "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4200 `inputs` tokens and 500 `max_new_tokens`",
        4200,
        4097,
    ),  # together
    ("Input validation error: `inputs` must have less than 4096 tokens. Given: 5000", 5000, 4096),  # tgi
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 8000 `inputs` tokens and 1024 `max_new_tokens`",
        None,
        None,
    ),  # tgi2
    ("prompt length 9000 exceeds maximum of 8192", 9000, 8192),  # fireworks2
    (
        "The decoder prompt (length 41000) is longer than the maximum model length of 40960. Make sure that `max_model_len` is no smaller than the number of text tokens.",
        41000,
        40960,
    ),  # vllm v1
    ("max_tokens must be at least 1, got -512.", None, None),  # vllm max_tokens neg
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is 8192 tokens and your request has 9000 input tokens (16384 > 8192 - 9000).",
        9000,
        8192,
    ),  # vllm 'max_tokens' too large
    (
        "This model's maximum context length is 4096 tokens. However, your request has 4100 input tokens. Please reduce the length of the input messages.",
        4100,
        4096,
    ),  # vllm new
    (
        "You passed 40961 input tokens and requested 0 output tokens. However, the model's context length is only 40960 tokens, resulting in a maximum input length of 40960 tokens. Please reduce the length of the input prompt.",
        40960,
        40960,
    ),  # vllm parameter
    (
        "The input (45000 tokens) is longer than the model's context length (40960 tokens).",
        45000,
        40960,
    ),  # sglang
    (
        "Input length (45000 tokens) exceeds the maximum allowed length (40954 tokens). Use a shorter input or enable --allow-auto-truncate.",
        45000,
        40954,
    ),  # sglang2
    (
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        None,
        None,
    ),  # llama.cpp v
    ("input is too large to process. increase the physical batch size", None, None),  # llama.cpp kv
    (
        "request (20000 tokens) exceeds the available context size (16384 tokens), try increasing it",
        20000,
        16384,
    ),  # llama.cpp n_ctx
    ("Requested tokens (5000) exceed context window of 4096", 5000, 4096),  # llama-cpp-python
    (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input",
        None,
        4096,
    ),  # lmstudio
    (
        "Reached context length of 4096 tokens with model (arch: llama) that does not currently support mid-generation context overflow.",
        None,
        4096,
    ),  # lmstudio2
    (
        "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 5000>= n_ctx: 4096).",
        5000,
        4096,
    ),  # lmstudio3
    ("prompt too long; exceeded max context length by 4321 tokens", None, None),  # ollama
    ("Prompt too long: 9000 tokens exceeds limit 8192", 9000, 8192),  # mlx
    ("Prompt length 9000 is greater than max_seq_len 8192", 9000, 8192),  # exllama/tabby
    ("Context length 9000 is greater than max_seq_len 8192", 9000, 8192),  # tabby2
    ("The model's max seq len is 8192. Input has 9000", 9000, 8192),  # aphrodite
    ("The input length 9000 exceeds the model's session_len 8192", 9000, 8192),  # lmdeploy
    ("The prompt length (9000) should not exceed max_input_len (8192)", 9000, 8192),  # trtllm
    (
        "prompt length (9000) plus max_tokens (1) should not exceed max_num_tokens (8192)",
        9000,
        8192,
    ),  # trtllm2
    ("Input length 9000 exceeds maximum input length 8192", 9000, 8192),  # nvidia nim
    ("number of input tokens (9000) exceeds max_seq_len (8192)", 9000, 8192),  # triton
    (
        'This endpoint\'s maximum context length is 32768 tokens. However, you requested about 45000 tokens (44000 of text input, 1000 in the output). Please reduce the length of either one, or use the "middle-out" transform',
        44000,
        32768,
    ),  # openrouter
    ("Input is longer than the context window", None, None),  # openrouter mid
    (
        "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        9000,
        8192,
    ),  # cerebras
    (
        "This model's maximum context length is 16384 tokens. However, you requested 20000 tokens, reduce",
        20000,
        16384,
    ),  # sambanova
    ("Requested context length exceeded: 130000 tokens", None, None),  # perplexity
    (
        "The request size exceeds the maximum context length of the model (131072 tokens)",
        None,
        None,
    ),  # databricks
    (
        "the number of input tokens 140000 cannot exceed the total tokens limit 131072 for this model",
        140000,
        131072,
    ),  # watsonx
    ("Input is too long. Max 8192 tokens", None, None),  # huggingface
    (
        "The estimated number of input and maximum output tokens (40000) exceeded this model context window limit (32000).",
        40000,
        32000,
    ),  # cf
    ("max_tokens and prompt tokens exceed the context length", None, None),  # novita
    ("Total tokens of image and text exceed max message tokens. Request id: 0x", None, None),  # volc
    ("input tokens length exceeds max 32000", None, None),  # hunyuan
    ("the max input characters is 20000, prompt too long", None, None),  # baidu
    ("the length of your prompt exceeds the maximum context", None, None),  # stepfun
    ("Requested tokens (9000) exceed context window of 8192", 9000, 8192),  # xinference
    ("Error: context shift disabled, n_prompt_tokens >= n_ctx", None, None),  # jan
    ("the conversation does not fit in the context window", None, None),  # german-less
    ("Payload Too Large", None, None),  # payload
    ("Request body is larger than the limit of 20971520 bytes", None, None),  # body size
    ("Request payload size exceeds the limit: 20971520 bytes.", None, None),  # gemini 20mb
    ("invalid request: total tokens exceed model context", None, None),  # cohere chat
)
ABOUT_OTHER_LIMITS = (
    "Invalid value: 'temperature' exceeds the maximum of 2",
    "tools.0.custom.description: String should have at most 1024 characters",
    "messages: at least one message is required",
    "max_tokens: Input should be greater than or equal to 1",
    "max_tokens must be greater than thinking.budget_tokens",
    "The requested max_tokens (32000) exceeds the model's maximum output of 16384",
    "max_completion_tokens is too large: 32768. This model supports at most 16384 completion tokens, whereas you provided 32768.",
    "max_tokens is greater than the maximum allowed output tokens 8192",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
    "tool name is too long: must be at most 64 characters",
    "The function name 'x' exceeds the maximum length of 64",
    "metadata.user_id: maximum length exceeded",
    "too many images in request: at most 100",
    "Too many images and documents: 101 + 0 > 100",
    "messages.0.content.5.image.source.base64.data: At least one of the image dimensions exceed max allowed size: 8000 pixels",
    "messages.2.content.1.image.source.base64.data: At least one of the image dimensions exceed max allowed size for many-image requests: 2000 pixels",
    "image in your message is too large",
    "The request timed out after more than 600 seconds",
    "Request took longer than 60 seconds",
    "The model is overloaded: more than 100 requests are waiting",
    "request is larger than allowed number of tools 128",
    "Number of tools (140) exceeds the maximum of 128",
    "stop: array too long. Expected an array with maximum length 4",
    "cache_control: a maximum of 4 blocks may be provided, found 5",
    "thinking.budget_tokens: Input should be greater than or equal to 1024",
    "A maximum of 100 PDF pages may be provided.",
    "messages.0.content.0.pdf.source.base64.data: The PDF specified was too large",
    "Your credit balance is too low to access the API",
    "This request would exceed your organization's rate limit of 80,000 input tokens per minute",
    "This request would exceed your account's rate limit",
    "This request would exceed the spending limit of 100 dollars",
    "You have exceeded your budget limit: max budget 10.0",
    "ExceededBudget: User=x over budget. Spend=10.2, Budget=10.0",
    "Request exceeds the monthly usage limit of 500",
    "your request exceeds the concurrency limit of 5",
    "model context window is 8192 only for paid users",
    "Token limit reached for today",
    "The number of requested tokens exceeds the daily limit of 100000",
    "Invalid API key",
    "This model does not support tools with context caching",
    "messages must alternate; more than 1 system message",
    "logit_bias: more than 300 entries",
    "Unable to process input image",
    "seed must be less than 2147483648",
    "Expected at most 4 stop sequences in the request but got 5",
    "n must be at most 1",
    "schema is too large: 6000 enum values exceed the limit of 500",
    "Invalid schema for function 'x': context=('properties','a'), array schema missing items",
    "The response exceeds the maximum output tokens limit",
    "conversation id longer than 64",
    "Error code: 404 model not found",
    "Requests per minute limit of 20 exceeded",
)


@pytest.mark.parametrize("message", ABOUT_OTHER_LIMITS)
def test_other_limits_are_not_taken_for_too_long(message: str) -> None:
    assert read_too_long(f"server answered 400: {message}") is None


@pytest.mark.parametrize(("message", "sent", "window"), UNSEEN)
def test_too_long_is_understood_in_words_that_were_not_seen_before(
    message: str, sent: int | None, window: int | None
) -> None:
    found = read_too_long(f"server answered 400: {message}")
    assert found == TooLong(sent_tokens=sent, window_tokens=window)


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
    "messages.0.content.1.document.source: the PDF specified was not valid": [BlockPlace(0, 1)],
    "messages.0.content.0.image.source.base64.data: image exceeds 5 MB maximum": [BlockPlace(0, 0)],
    "messages.2.content.0.tool_result.content.1.image.source: Could not process image": [BlockPlace(2, 0, 1)],
    "messages.2.content.0: something about a result": [BlockPlace(2, 0)],
    # A driver left out what another model thought before it.
    "messages.1.content.1.tool_use.input: Input should be a valid dictionary": [BlockPlace(1, 2)],
    "messages.1.content.0.thinking.signature: Invalid": [BlockPlace(1, 0)],
    "Invalid 'messages[0].content[1].file': unsupported": [BlockPlace(0, 1)],
    "Could not process image": [BlockPlace(2, 0, 1)],
    "Invalid image data": [BlockPlace(2, 0, 1)],
    "this model does not support image input": [BlockPlace(2, 0, 1)],
    "The PDF specified is password protected": [BlockPlace(0, 1)],
    "A maximum of 100 PDF pages may be provided": [BlockPlace(0, 1)],
    # Places in the words of other protocols, which count messages otherwise.
    "Invalid 'messages[9].content[1].image_url.url': unsupported image": [BlockPlace(2, 0, 1)],
    "Invalid 'messages[1].content[0].image_url.url'. Expected a base64-encoded data URL": [
        BlockPlace(2, 0, 1)
    ],
    "messages.7.content.3.image_url.url: Input should be a valid URL": [BlockPlace(2, 0, 1)],
    "Invalid 'input[7].content[0].file_data': unsupported mime type": [BlockPlace(2, 0, 1)],
    "Unable to decode base64 data at contents[3].parts[1]": [BlockPlace(2, 0, 1)],
    # Said for what it says, and again with every later message.
    "Content Exists Risk": [BlockPlace(2, 0), BlockPlace(2, 1)],
    "The request was rejected because it was considered high risk": [BlockPlace(2, 0), BlockPlace(2, 1)],
    "<400> InternalError.Algo.DataInspectionFailed: Input data may contain inappropriate content.": [
        BlockPlace(2, 0),
        BlockPlace(2, 1),
    ],
    "The response was filtered due to the prompt triggering the content management policy.": [
        BlockPlace(2, 0),
        BlockPlace(2, 1),
    ],
    "messages.9.content.0.text: out of bounds": [],
    "model: not found": [],
    "invalid x-api-key": [],
    "temperature: must be at most 1": [],
}


@pytest.mark.parametrize("message", BLAMED)
def test_the_block_that_a_refusal_is_about_is_found(message: str) -> None:
    assert blamed_blocks(f"anthropic answered 400: {message}", MESSAGES) == BLAMED[message]
