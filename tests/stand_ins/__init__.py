"""Libraries that stand in for those which this machine cannot run, and fail as the real ones do."""
