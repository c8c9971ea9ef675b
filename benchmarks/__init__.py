"""What the agent reaches, measured against the bare runtime on the same machine in the same minutes."""
