"""The OpenAPI document as people compare it: indented, keys in the order in which it is made."""

from __future__ import annotations

import json

from parity.routes import operations
from remit.server.description.openapi import openapi_document


def openapi_text() -> str:
    """Of the whole platform."""
    return json.dumps(openapi_document(operations()), indent=1, ensure_ascii=False) + "\n"
