"""What the agent says of itself: structured lines, without credentials, without floods."""
