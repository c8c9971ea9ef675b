"""Control: what is asked of the node from outside, and how it comes about, or does not."""
