"""As in the real package: where its exceptions and its libraries are."""
