"""The machine and its service manager: time, memory, temperatures, systemd, and why the last run ended."""
