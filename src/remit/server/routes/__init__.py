"""The handlers of the operations of resources, sessions and remits."""
