"""The kit of resources, and each resource with its rules. No HTTP, no SQL."""
