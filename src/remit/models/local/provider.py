"""The provider `local`: models that Remit installed and runs itself, and those of a server on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

import msgspec

from remit.errors import ModelCallFailed
from remit.interfaces import ModelProvider, TakesFields
from remit.models.local.folder import ModelFolder
from remit.models.local.install import RUNTIME_MEND, has_runtime
from remit.models.local.runtime import LlamaCppRuntime
from remit.values import ModelDelta, ModelInfo, ModelRequest, ModelResponse


class LocalModels:
    """Installed models through their own runtime, every other name through `server`, if there is one; implements
    `interfaces.ModelProvider`."""

    def __init__(
        self, *, folder: ModelFolder, runtime: LlamaCppRuntime, server: ModelProvider | None
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._server = server

    def why_not(self, name: str) -> str | None:
        """Return why this model cannot be called, with the mend; None when it can, as far as is known."""
        model = self._folder.known(name)
        if model is not None and self._folder.is_installed(model):
            return None if has_runtime() else f"what runs it is not installed: {RUNTIME_MEND}"
        if self._server is not None:
            return None
        if model is not None:
            return f"it is not installed: `remit model install {model.id}` ({model.size_bytes / 1e6:,.0f} MB)"
        return (
            "no installed model and no server of this machine has that name. `remit model list` shows what can be "
            "installed; REMIT_OPENAI_BASE_URL names a server"
        )

    def takes(self, field: str) -> bool:
        """See TakesFields: what the server of this machine takes."""
        return isinstance(self._server, TakesFields) and self._server.takes(field)

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """See ModelProvider. The first call of a model starts its process."""
        provider, sent = await self._provider(request)
        # Cast: the contract promises an iterator that can be closed, which is what aborts the call.
        answer = cast("AsyncGenerator[ModelDelta | ModelResponse]", provider.stream(sent))
        async with aclosing(answer):
            async for item in answer:
                yield item

    async def models(self) -> Sequence[ModelInfo]:
        """List the server's models, then the installed ones: a small model is the last choice."""
        installed = self._folder.installed() if has_runtime() else []
        listed = [
            ModelInfo(
                id=model.name,
                display_name=model.title,
                context_tokens=model.context_tokens,
                max_output_tokens=model.output_tokens_max,
                provider="local",
                is_context_guessed=True,  # it is sent less than the request says, see json_actions
            )
            for model in installed
        ]
        names = {info.id for info in listed}
        others: Sequence[ModelInfo] = () if self._server is None else await self._server.models()
        return [*(info for info in others if info.id not in names), *listed]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Return None: the protocol cannot tell."""
        return None

    async def close(self) -> None:
        """End the processes."""
        await self._runtime.close()
        if self._server is not None:
            await self._server.close()

    async def _provider(self, request: ModelRequest) -> tuple[ModelProvider, ModelRequest]:
        model = self._folder.known(request.model)
        if model is not None and self._folder.is_installed(model):
            driver = await self._runtime.driver(model, self._folder.path(model))
            return driver, msgspec.structs.replace(
                request,
                max_tokens=min(request.max_tokens, model.output_tokens_max),
                temperature=0.0 if request.temperature is None else request.temperature,
                effort=None,
            )
        if self._server is not None:
            return self._server, request
        raise ModelCallFailed(
            f"local/{request.model} cannot be called: {self.why_not(request.model)}",
            reason="invalid",
            billed="no",
            is_retryable=False,
        )
