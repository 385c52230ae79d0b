"""Helpers that several tests share and nobody else."""
