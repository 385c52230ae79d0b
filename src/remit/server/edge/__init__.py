"""Before an operation: who asks, how much is taken on, and how failures are answered."""
