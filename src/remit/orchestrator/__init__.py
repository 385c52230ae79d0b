"""Who works: wake, lease, turn, recovery, evaluation, held sandboxes, the checker."""
