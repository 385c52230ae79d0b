"""How requests get to a provider and answers come back: connections, streams, failures."""
