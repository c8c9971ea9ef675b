"""`python -m agent.cli`: the command, where its script is not on the path."""

from agent.cli import main

main()
