"""Sandboxes: the image, the spawner, providers, and what runs inside."""
