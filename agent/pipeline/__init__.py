"""The stages: capture, inference, eventing, delivery, health."""
