"""How fast what is stored reaches the broker, beside clients that store nothing."""
