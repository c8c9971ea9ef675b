"""How fast a model runs on this machine, and in which lanes: each setup in a process of its own."""
