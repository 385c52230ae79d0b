"""Blobs in a folder, by their sha256."""
