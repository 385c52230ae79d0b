"""Every method of the official SDK that Remit knows by name. Which of them are served is what the routes say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class WireMethod(NamedTuple):
    """A method of the SDK and what it calls."""

    name: str
    http_method: str
    path: str


def wire_methods() -> Iterator[WireMethod]:
    """All of them, in order of their names' resources."""
    for resource, methods in _METHODS.items():
        for name, call in methods.items():
            http_method, _, path = call.partition(" ")
            yield WireMethod(f"{resource}.{name}", http_method, path)


_METHODS = {
    "client.beta.agents": {
        "archive": "POST /v1/agents/{agent_id}/archive",
        "create": "POST /v1/agents",
        "list": "GET /v1/agents",
        "retrieve": "GET /v1/agents/{agent_id}",
        "update": "POST /v1/agents/{agent_id}",
    },
    "client.beta.agents.versions": {
        "list": "GET /v1/agents/{agent_id}/versions",
    },
    "client.beta.deployment_runs": {
        "list": "GET /v1/deployment_runs",
        "retrieve": "GET /v1/deployment_runs/{deployment_run_id}",
    },
    "client.beta.deployments": {
        "archive": "POST /v1/deployments/{deployment_id}/archive",
        "create": "POST /v1/deployments",
        "list": "GET /v1/deployments",
        "pause": "POST /v1/deployments/{deployment_id}/pause",
        "retrieve": "GET /v1/deployments/{deployment_id}",
        "run": "POST /v1/deployments/{deployment_id}/run",
        "unpause": "POST /v1/deployments/{deployment_id}/unpause",
        "update": "POST /v1/deployments/{deployment_id}",
    },
    "client.beta.dreams": {
        "archive": "POST /v1/dreams/{dream_id}/archive",
        "cancel": "POST /v1/dreams/{dream_id}/cancel",
        "create": "POST /v1/dreams",
        "list": "GET /v1/dreams",
        "retrieve": "GET /v1/dreams/{dream_id}",
    },
    "client.beta.environments": {
        "archive": "POST /v1/environments/{environment_id}/archive",
        "create": "POST /v1/environments",
        "delete": "DELETE /v1/environments/{environment_id}",
        "list": "GET /v1/environments",
        "retrieve": "GET /v1/environments/{environment_id}",
        "update": "POST /v1/environments/{environment_id}",
    },
    "client.beta.environments.work": {
        "ack": "POST /v1/environments/{environment_id}/work/{work_id}/ack",
        "heartbeat": "POST /v1/environments/{environment_id}/work/{work_id}/heartbeat",
        "list": "GET /v1/environments/{environment_id}/work",
        "poll": "GET /v1/environments/{environment_id}/work/poll",
        "retrieve": "GET /v1/environments/{environment_id}/work/{work_id}",
        "stats": "GET /v1/environments/{environment_id}/work/stats",
        "stop": "POST /v1/environments/{environment_id}/work/{work_id}/stop",
        "update": "POST /v1/environments/{environment_id}/work/{work_id}",
    },
    "client.beta.files": {
        "delete": "DELETE /v1/files/{file_id}",
        "download": "GET /v1/files/{file_id}/content",
        "list": "GET /v1/files",
        "retrieve_metadata": "GET /v1/files/{file_id}",
        "upload": "POST /v1/files",
    },
    "client.beta.memory_stores": {
        "archive": "POST /v1/memory_stores/{memory_store_id}/archive",
        "create": "POST /v1/memory_stores",
        "delete": "DELETE /v1/memory_stores/{memory_store_id}",
        "list": "GET /v1/memory_stores",
        "retrieve": "GET /v1/memory_stores/{memory_store_id}",
        "update": "POST /v1/memory_stores/{memory_store_id}",
    },
    "client.beta.memory_stores.memories": {
        "create": "POST /v1/memory_stores/{memory_store_id}/memories",
        "delete": "DELETE /v1/memory_stores/{memory_store_id}/memories/{memory_id}",
        "list": "GET /v1/memory_stores/{memory_store_id}/memories",
        "retrieve": "GET /v1/memory_stores/{memory_store_id}/memories/{memory_id}",
        "update": "POST /v1/memory_stores/{memory_store_id}/memories/{memory_id}",
    },
    "client.beta.memory_stores.memory_versions": {
        "list": "GET /v1/memory_stores/{memory_store_id}/memory_versions",
        "redact": "POST /v1/memory_stores/{memory_store_id}/memory_versions/{memory_version_id}/redact",
        "retrieve": "GET /v1/memory_stores/{memory_store_id}/memory_versions/{memory_version_id}",
    },
    "client.beta.messages.batches": {
        "cancel": "POST /v1/messages/batches/{message_batch_id}/cancel",
        "create": "POST /v1/messages/batches",
        "delete": "DELETE /v1/messages/batches/{message_batch_id}",
        "list": "GET /v1/messages/batches",
        "results": "GET /v1/messages/batches/{message_batch_id}/results",
        "retrieve": "GET /v1/messages/batches/{message_batch_id}",
    },
    "client.beta.messages": {
        "count_tokens": "POST /v1/messages/count_tokens",
        "create": "POST /v1/messages",
        "parse": "POST /v1/messages",
    },
    "client.beta.models": {
        "list": "GET /v1/models",
        "retrieve": "GET /v1/models/{model_id}",
    },
    "client.beta.organization.analytics.cost": {
        "list": "GET /v1/organizations/analytics/cost",
    },
    "client.beta.organization.analytics.cost_report": {
        "list": "GET /v1/organizations/analytics/cost_report",
    },
    "client.beta.organization.analytics.usage": {
        "list": "GET /v1/organizations/analytics/usage",
    },
    "client.beta.organization.analytics.usage_report": {
        "list": "GET /v1/organizations/analytics/usage_report",
    },
    "client.beta.organization.api_keys": {
        "list": "GET /v1/organizations/api_keys",
        "retrieve": "GET /v1/organizations/api_keys/{api_key_id}",
        "update": "POST /v1/organizations/api_keys/{api_key_id}",
    },
    "client.beta.organization.invites": {
        "create": "POST /v1/organizations/invites",
        "delete": "DELETE /v1/organizations/invites/{invite_id}",
        "list": "GET /v1/organizations/invites",
        "retrieve": "GET /v1/organizations/invites/{invite_id}",
    },
    "client.beta.organization.rate_limits": {
        "list": "GET /v1/organizations/rate_limits",
    },
    "client.beta.organization": {
        "retrieve": "GET /v1/organizations/me",
    },
    "client.beta.organization.service_accounts": {
        "archive": "POST /v1/organizations/service_accounts/{service_account_id}/archive",
        "create": "POST /v1/organizations/service_accounts",
        "list": "GET /v1/organizations/service_accounts",
        "retrieve": "GET /v1/organizations/service_accounts/{service_account_id}",
        "update": "POST /v1/organizations/service_accounts/{service_account_id}",
    },
    "client.beta.organization.spend_limits": {
        "delete": "DELETE /v1/organizations/spend_limits/{spend_limit_id}",
        "list": "GET /v1/organizations/spend_limits",
        "retrieve": "GET /v1/organizations/spend_limits/{spend_limit_id}",
        "set": "POST /v1/organizations/spend_limits",
    },
    "client.beta.organization.spend_limits.effective": {
        "list": "GET /v1/organizations/spend_limits/effective",
    },
    "client.beta.organization.spend_limits.increase_requests": {
        "approve": "POST /v1/organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}/approve",
        "deny": "POST /v1/organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}/deny",
        "list": "GET /v1/organizations/spend_limit_increase_requests",
        "retrieve": "GET /v1/organizations/spend_limit_increase_requests/{spend_limit_increase_request_id}",
    },
    "client.beta.organization.users": {
        "list": "GET /v1/organizations/users",
        "remove": "DELETE /v1/organizations/users/{user_id}",
        "retrieve": "GET /v1/organizations/users/{user_id}",
        "sign_out": "POST /v1/organizations/users/{user_id}/sign_out",
        "update": "POST /v1/organizations/users/{user_id}",
    },
    "client.beta.organization.webhooks": {
        "create": "POST /v1/organizations/webhooks",
        "delete": "DELETE /v1/organizations/webhooks/{webhook_endpoint_id}",
        "list": "GET /v1/organizations/webhooks",
        "regenerate_signing_secret": "POST /v1/organizations/webhooks/{webhook_endpoint_id}/regenerate_signing_secret",
        "retrieve": "GET /v1/organizations/webhooks/{webhook_endpoint_id}",
        "update": "POST /v1/organizations/webhooks/{webhook_endpoint_id}",
    },
    "client.beta.organization.workspaces": {
        "archive": "POST /v1/organizations/workspaces/{workspace_id}/archive",
        "create": "POST /v1/organizations/workspaces",
        "list": "GET /v1/organizations/workspaces",
        "retrieve": "GET /v1/organizations/workspaces/{workspace_id}",
        "update": "POST /v1/organizations/workspaces/{workspace_id}",
    },
    "client.beta.organization.workspaces.members": {
        "add": "POST /v1/organizations/workspaces/{workspace_id}/members",
        "list": "GET /v1/organizations/workspaces/{workspace_id}/members",
        "remove": "DELETE /v1/organizations/workspaces/{workspace_id}/members/{user_id}",
        "retrieve": "GET /v1/organizations/workspaces/{workspace_id}/members/{user_id}",
        "update": "POST /v1/organizations/workspaces/{workspace_id}/members/{user_id}",
    },
    "client.beta.organization.workspaces.rate_limits": {
        "list": "GET /v1/organizations/workspaces/{workspace_id}/rate_limits",
        "update": "POST /v1/organizations/workspaces/{workspace_id}/rate_limits/{rate_limit_id}",
    },
    "client.beta.sessions": {
        "archive": "POST /v1/sessions/{session_id}/archive",
        "create": "POST /v1/sessions",
        "delete": "DELETE /v1/sessions/{session_id}",
        "list": "GET /v1/sessions",
        "retrieve": "GET /v1/sessions/{session_id}",
        "update": "POST /v1/sessions/{session_id}",
    },
    "client.beta.sessions.events": {
        "list": "GET /v1/sessions/{session_id}/events",
        "send": "POST /v1/sessions/{session_id}/events",
        "stream": "GET /v1/sessions/{session_id}/events/stream",
    },
    "client.beta.sessions.resources": {
        "add": "POST /v1/sessions/{session_id}/resources",
        "delete": "DELETE /v1/sessions/{session_id}/resources/{resource_id}",
        "list": "GET /v1/sessions/{session_id}/resources",
        "retrieve": "GET /v1/sessions/{session_id}/resources/{resource_id}",
        "update": "POST /v1/sessions/{session_id}/resources/{resource_id}",
    },
    "client.beta.sessions.threads": {
        "archive": "POST /v1/sessions/{session_id}/threads/{thread_id}/archive",
        "list": "GET /v1/sessions/{session_id}/threads",
        "retrieve": "GET /v1/sessions/{session_id}/threads/{thread_id}",
    },
    "client.beta.sessions.threads.events": {
        "list": "GET /v1/sessions/{session_id}/threads/{thread_id}/events",
        "stream": "GET /v1/sessions/{session_id}/threads/{thread_id}/stream",
    },
    "client.beta.skills": {
        "create": "POST /v1/skills",
        "delete": "DELETE /v1/skills/{skill_id}",
        "list": "GET /v1/skills",
        "retrieve": "GET /v1/skills/{skill_id}",
    },
    "client.beta.skills.versions": {
        "create": "POST /v1/skills/{skill_id}/versions",
        "delete": "DELETE /v1/skills/{skill_id}/versions/{version}",
        "download": "GET /v1/skills/{skill_id}/versions/{version}/content",
        "list": "GET /v1/skills/{skill_id}/versions",
        "retrieve": "GET /v1/skills/{skill_id}/versions/{version}",
    },
    "client.beta.user_profiles.action_urls": {
        "create": "POST /v1/user_profiles/{user_profile_id}/action_urls",
    },
    "client.beta.user_profiles": {
        "create": "POST /v1/user_profiles",
        "create_enrollment_url": "POST /v1/user_profiles/{user_profile_id}/enrollment_url",
        "delete": "DELETE /v1/user_profiles/{user_profile_id}",
        "list": "GET /v1/user_profiles",
        "retrieve": "GET /v1/user_profiles/{user_profile_id}",
        "update": "POST /v1/user_profiles/{user_profile_id}",
    },
    "client.beta.vaults": {
        "archive": "POST /v1/vaults/{vault_id}/archive",
        "create": "POST /v1/vaults",
        "delete": "DELETE /v1/vaults/{vault_id}",
        "list": "GET /v1/vaults",
        "retrieve": "GET /v1/vaults/{vault_id}",
        "update": "POST /v1/vaults/{vault_id}",
    },
    "client.beta.vaults.credentials": {
        "archive": "POST /v1/vaults/{vault_id}/credentials/{credential_id}/archive",
        "create": "POST /v1/vaults/{vault_id}/credentials",
        "delete": "DELETE /v1/vaults/{vault_id}/credentials/{credential_id}",
        "list": "GET /v1/vaults/{vault_id}/credentials",
        "mcp_oauth_validate": "POST /v1/vaults/{vault_id}/credentials/{credential_id}/mcp_oauth_validate",
        "retrieve": "GET /v1/vaults/{vault_id}/credentials/{credential_id}",
        "update": "POST /v1/vaults/{vault_id}/credentials/{credential_id}",
    },
    "client.files": {
        "delete": "DELETE /v1/files/{file_id}",
        "download": "GET /v1/files/{file_id}/content",
        "list": "GET /v1/files",
        "retrieve_metadata": "GET /v1/files/{file_id}",
        "upload": "POST /v1/files",
    },
    "client.messages.batches": {
        "cancel": "POST /v1/messages/batches/{message_batch_id}/cancel",
        "create": "POST /v1/messages/batches",
        "delete": "DELETE /v1/messages/batches/{message_batch_id}",
        "list": "GET /v1/messages/batches",
        "results": "GET /v1/messages/batches/{message_batch_id}/results",
        "retrieve": "GET /v1/messages/batches/{message_batch_id}",
    },
    "client.messages": {
        "count_tokens": "POST /v1/messages/count_tokens",
        "create": "POST /v1/messages",
        "parse": "POST /v1/messages",
    },
    "client.models": {
        "list": "GET /v1/models",
        "retrieve": "GET /v1/models/{model_id}",
    },
    "client.skills": {
        "create": "POST /v1/skills",
        "delete": "DELETE /v1/skills/{skill_id}",
        "list": "GET /v1/skills",
        "retrieve": "GET /v1/skills/{skill_id}",
    },
    "client.skills.versions": {
        "create": "POST /v1/skills/{skill_id}/versions",
        "delete": "DELETE /v1/skills/{skill_id}/versions/{version}",
        "list": "GET /v1/skills/{skill_id}/versions",
        "retrieve": "GET /v1/skills/{skill_id}/versions/{version}",
    },
}
