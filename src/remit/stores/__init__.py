"""Durable keepers, and the rules that all of them share."""
