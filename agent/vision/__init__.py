"""Pure array functions: letterbox, heads, non-maximum suppression."""
