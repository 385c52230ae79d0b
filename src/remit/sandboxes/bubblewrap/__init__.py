"""Sandboxes made with bubblewrap."""
