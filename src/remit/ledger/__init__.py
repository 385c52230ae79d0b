"""Accounts, bounds, caps and prices. Pure rules."""
