"""The wire: operations, bodies and answers, a file for each resource. No I/O."""
