"""Live hints and frames within one process, and between several that share a store."""
