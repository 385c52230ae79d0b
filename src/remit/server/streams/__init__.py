"""What streams of every kind have in common over HTTP: events, pages, server-sent events."""
