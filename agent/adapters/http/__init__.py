"""Health and metrics over HTTP, for whoever looks after this machine."""
