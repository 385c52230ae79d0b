"""Verifiers: commands and rubrics, protected files, isolation, verdicts."""
