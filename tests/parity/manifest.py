"""What is asked of Remit, from outside, and how far it is met: read off the routes, the tour and the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from starlette.routing import Route

from remit.server.refused import is_refusal, path_shape, route_keys

Tier = Literal["core", "admin"]


@dataclass(frozen=True)
class Endpoint:
    """A method of the official SDK."""

    method: str
    http_method: str
    path: str
    tier: Tier

    @property
    def key(self) -> tuple[str, str]:
        return self.http_method, path_shape(self.path)


def endpoints() -> list[Endpoint]:
    """All of `endpoints.json`."""
    rows = json.loads((Path(__file__).parent / "endpoints.json").read_text())
    return [Endpoint(**row) for row in rows]


def served_methods(routes: Iterable[Route]) -> frozenset[str]:
    """Methods of the SDK that have a route which is more than a refusal."""
    return _methods(route for route in routes if not is_refusal(route))


def refused_methods(routes: Iterable[Route]) -> frozenset[str]:
    """Methods of the SDK whose route refuses by name."""
    return _methods(route for route in routes if is_refusal(route))


def _methods(routes: Iterable[Route]) -> frozenset[str]:
    keys = {key for route in routes for key in route_keys(route)}
    return frozenset(one.method for one in endpoints() if one.key in keys)
