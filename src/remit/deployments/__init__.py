"""Sessions by a schedule: deployments and their runs."""
