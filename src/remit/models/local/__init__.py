"""Models on this machine: their weights, their runtime, and servers that run already."""
