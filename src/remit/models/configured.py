"""The model providers that the settings name: the one place that knows every driver."""

from __future__ import annotations

from remit.clock import Clock
from remit.config import Settings
from remit.gateway.routing import is_local_url
from remit.interfaces import ModelProvider
from remit.models.drivers.anthropic import AnthropicProvider
from remit.models.drivers.bedrock import bedrock_provider
from remit.models.drivers.openai import is_vendor
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.drivers.openai_responses import OpenAIResponsesProvider
from remit.models.drivers.scripted import ScriptedProvider, load_scripts
from remit.models.drivers.vertex import vertex_provider
from remit.models.local.folder import ModelFolder
from remit.models.local.installed_models import InstalledModels
from remit.models.local.provider import LocalModels
from remit.models.local.runtime import LlamaCppRuntime
from remit.models.local.sources import NetworkSources


def model_providers(settings: Settings, clock: Clock) -> dict[str, ModelProvider]:
    """Make the providers, by name. Those whose key is missing say why they cannot be called."""
    scripts = load_scripts(settings.scripted) if settings.scripted is not None else {}
    providers: dict[str, ModelProvider] = {"scripted": ScriptedProvider(scripts, clock=clock)}
    if settings.anthropic_api_key:
        providers["anthropic"] = AnthropicProvider(
            api_key=settings.anthropic_api_key, base_url=settings.anthropic_base_url
        )
    base_url = settings.openai_base_url
    # The vendor's own key is sent to the vendor alone; the one that is named for Remit goes wherever Remit is pointed.
    api_key = settings.openai_api_key or (settings.openai_vendor_api_key if is_vendor(base_url) else None)
    speaks = OpenAIResponsesProvider if settings.openai_protocol == "responses" else OpenAIChatProvider
    server = None
    if base_url is not None and is_local_url(base_url):
        server = speaks(api_key=api_key, base_url=base_url, name="local")  # costs nothing
    elif api_key or base_url is not None:
        providers["openai"] = speaks(api_key=api_key, base_url=base_url)
    providers["bedrock"] = bedrock_provider()
    providers["vertex"] = vertex_provider()
    providers["local"] = LocalModels(folder=model_folder(settings), runtime=LlamaCppRuntime(), server=server)
    return providers


def model_folder(settings: Settings) -> ModelFolder:
    """Return the folder of local models."""
    return ModelFolder(settings.local_models or settings.data / "models")


def installed_models(settings: Settings) -> InstalledModels:
    """Make the shelf for whoever installs local models."""
    return InstalledModels(model_folder(settings), NetworkSources())
