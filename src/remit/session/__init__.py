"""A session from its log: fold, next move, model request, facts. Pure."""
