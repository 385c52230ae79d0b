"""A folder as input, and a result brought into it."""
