"""Claude on Google Vertex AI, through Anthropic's SDK: `vertex/MODEL`, with the model's id there.

Credentials are Google's usual ones (`GOOGLE_APPLICATION_CREDENTIALS`, `gcloud auth application-default login`, a
machine's own account); `CLOUD_ML_REGION` names the region, `ANTHROPIC_VERTEX_PROJECT_ID` the project.
"""

from __future__ import annotations

from typing import Any

import httpx2

from remit.models.drivers.vendor_request import VERTEX_BETAS
from remit.models.drivers.vendor_sdk import VendorEndpoint, VendorProvider
from remit.models.http.endpoint import ModelTimeouts

NAME = "vertex"
MODULES = ("anthropic", "google.auth")


def vertex_provider(
    *,
    base_url: str | None = None,
    timeouts: ModelTimeouts | None = None,
    credentials: Any = None,  # Any: google-auth's, an optional extra
) -> VendorProvider:
    """The provider; nothing is loaded or asked for before its first call."""

    def open_client(timeout: httpx2.Timeout) -> Any:  # Any: an optional extra's type
        from anthropic.lib.vertex import AsyncAnthropicVertex

        return AsyncAnthropicVertex(
            base_url=base_url, max_retries=0, timeout=timeout, credentials=credentials
        )

    endpoint = VendorEndpoint(name=NAME, open_client=open_client, counts_tokens=True, timeouts=timeouts)
    return VendorProvider(endpoint, modules=MODULES, extra=NAME, betas=VERTEX_BETAS)
