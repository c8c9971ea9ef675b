"""How models come to serve on this node: lanes, memory, loading, admission, and a child to try them in."""
