"""The way out of sandboxes: the proxy, its policy, and credentials on requests."""
