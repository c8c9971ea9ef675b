"""A fuzzer of what a node takes from its broker: documents, what may happen to them, and a node."""
