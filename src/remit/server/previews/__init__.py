"""What listens in a session's sandbox, looked at through our own address."""
