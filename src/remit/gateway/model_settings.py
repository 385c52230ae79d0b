"""The operator's settings of a model: how much it holds, and how long its first byte may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from remit.errors import InvalidRequest
from remit.values import ANSWER_SECONDS_MAX, ModelInfo


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models."NAME"]` of the settings file."""

    context_tokens: Annotated[int, msgspec.Meta(ge=512)] | None = None
    """What it reads and writes in one call."""
    max_output_tokens: Annotated[int, msgspec.Meta(ge=64)] | None = None
    """What it writes at most in one call."""
    first_byte_seconds: Annotated[float, msgspec.Meta(gt=0, le=ANSWER_SECONDS_MAX)] | None = None
    """How long it may read before it answers."""

    def said_of(self, info: ModelInfo) -> ModelInfo:
        """Correct what a list says of the model by these settings."""
        context = self.context_tokens or info.context_tokens
        return msgspec.structs.replace(
            info,
            context_tokens=context,
            max_output_tokens=min(self.max_output_tokens or info.max_output_tokens, context),
            is_context_guessed=info.is_context_guessed and self.context_tokens is None,
            is_output_guessed=info.is_output_guessed and self.max_output_tokens is None,
        )


def parse_models(table: Mapping[str, Any]) -> dict[str, ModelSettings]:  # Any: TOML as tomllib gives it
    """The `models` table of the settings file. Raises InvalidRequest naming the model and the field."""
    models: dict[str, ModelSettings] = {}
    for name, fields in table.items():
        try:
            models[name] = msgspec.convert(fields, ModelSettings)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f'settings, [models."{name}"]: {error}') from error
    return models
