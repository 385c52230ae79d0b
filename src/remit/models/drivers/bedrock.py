"""Claude on Amazon Bedrock, through Anthropic's SDK: `bedrock/MODEL`, with the model's id there.

Credentials and region are found as that SDK finds them: `AWS_REGION`, `AWS_ACCESS_KEY_ID` and the rest of AWS's usual
chain, or `AWS_BEARER_TOKEN_BEDROCK`.
"""

from __future__ import annotations

from typing import Any

import httpx2

from remit.models.drivers.vendor_request import BEDROCK_BETAS
from remit.models.drivers.vendor_sdk import VendorEndpoint, VendorProvider
from remit.models.http.endpoint import ModelTimeouts

NAME = "bedrock"
MODULES = ("anthropic", "boto3", "botocore")


def bedrock_provider(*, base_url: str | None = None, timeouts: ModelTimeouts | None = None) -> VendorProvider:
    """The provider; nothing is loaded or asked for before its first call."""

    def open_client(timeout: httpx2.Timeout) -> Any:  # Any: an optional extra's type
        from anthropic.lib.bedrock import AsyncAnthropicBedrock

        return AsyncAnthropicBedrock(base_url=base_url, max_retries=0, timeout=timeout)

    endpoint = VendorEndpoint(name=NAME, open_client=open_client, counts_tokens=False, timeouts=timeouts)
    return VendorProvider(endpoint, modules=MODULES, extra=NAME, betas=BEDROCK_BETAS)
