"""Fields that Remit adds to the wire, by the SDK's type in which they stand. docs/events.md explains each."""

from __future__ import annotations

from collections.abc import Mapping

OWN_FIELDS: Mapping[str, frozenset[str]] = {
    "BetaManagedAgentsAgent": frozenset({"harness"}),
    "BetaManagedAgentsSessionAgent": frozenset({"harness"}),
    "BetaManagedAgentsSessionThreadAgent": frozenset({"harness"}),
    "BetaManagedAgentsSession": frozenset({"parent_id", "isolation"}),
    "BetaManagedAgentsUserDefineOutcomeEvent": frozenset({"verifiers"}),
    "BetaManagedAgentsAgentToolResultEvent": frozenset({"may_have_run"}),
    "BetaManagedAgentsOutcomeEvaluationResource": frozenset({"waits_for"}),
    "BetaManagedAgentsSpanOutcomeEvaluationOngoingEvent": frozenset({"waits_for"}),
}
FIELDS_OF_TWINS: Mapping[str, frozenset[str]] = {
    "FileMetadata": frozenset({"scope"}),
    "ModelInfo": frozenset({"allowed_fallback_models"}),
}
"""Fields of the beta type that stand in its plain twin too: both are answered by one path."""
NOT_ON_TOUR = frozenset(
    {
        ("BetaManagedAgentsAgentToolResultEvent", "may_have_run"),
        ("BetaManagedAgentsOutcomeEvaluationResource", "waits_for"),
        ("BetaManagedAgentsSpanOutcomeEvaluationOngoingEvent", "waits_for"),
    }
)
"""Those that a tour without mishaps, and without verifiers that wait, does not see."""
