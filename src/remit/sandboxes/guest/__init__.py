"""The daemon inside of a sandbox. Standard library alone; nothing of Remit is imported."""
