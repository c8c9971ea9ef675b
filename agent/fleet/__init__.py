"""The operator's side: what speaks to nodes in the same contract, from elsewhere."""
