"""Spans by OpenTelemetry's API alone: whoever runs Remit under an SDK gets them, and without one there are none.

Names and attributes are those of the semantic conventions for generative AI. Prompts, answers, inputs and outputs of
tools are never among them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider, Span, SpanKind, Status, StatusCode, Tracer

Attributes = Mapping[str, str | int | float | bool | list[str]]


def installed_tracer() -> Tracer | None:
    """Return the tracer of the SDK that was set up around this process; None: there is none, and nothing is
    to be paid for it."""
    if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        return None
    return trace.get_tracer("remit")


@contextmanager
def span(
    tracer: Tracer | None, name: str, attributes: Attributes, *, kind: SpanKind = SpanKind.INTERNAL
) -> Generator[Span | None]:
    """The current span while the body runs. A failure is its type alone: messages may quote what people wrote."""
    if tracer is None:
        yield None
        return
    with tracer.start_as_current_span(
        name, kind=kind, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            fail(made, type(error).__name__)
            raise


def fail(made: Span, type: str) -> None:
    """Mark a span as failed in this way."""
    made.set_attribute("error.type", type)
    made.set_status(Status(StatusCode.ERROR))
