"""What is asked of Remit, from outside, and how far it is met: read off the routes, the tour and the tests."""

from __future__ import annotations

from collections.abc import Iterable

from remit.server.description.refused import Refusal, endpoints, operation_keys
from remit.server.operations.router import Route


def served_methods(routes: Iterable[Route]) -> frozenset[str]:
    """Methods of the SDK that have a route which is more than a refusal."""
    return _methods(route for route in routes if not isinstance(route, Refusal))


def refused_methods(routes: Iterable[Route]) -> frozenset[str]:
    """Methods of the SDK whose route refuses by name."""
    return _methods(route for route in routes if isinstance(route, Refusal))


def _methods(routes: Iterable[Route]) -> frozenset[str]:
    keys = {key for route in routes for key in operation_keys(route.operation)}
    return frozenset(one.method for one in endpoints() if one.key in keys)
