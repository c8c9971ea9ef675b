"""Training of the two models that the demo carries; run by `python -m tools.train_demo_model`."""
