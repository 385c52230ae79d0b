"""Remit: an open, self-hosted platform for managed agents."""
