"""Numbers for /metrics, and percentiles of what was timed, on prometheus-client."""
