"""Settings of one node: loaded, merged, validated."""
