"""The demo: a rendered scene, trained models, an embedded broker."""
