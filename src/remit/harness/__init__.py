"""The loop around a model."""
