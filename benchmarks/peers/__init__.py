"""What others reach on the same machine, in an environment of their own."""
