"""Suites, doubles and faults for whoever writes an adapter."""
