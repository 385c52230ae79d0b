"""The protocols in which users call models, to and from the canonical form."""
