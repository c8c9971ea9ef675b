"""What is done with models by hand: inspect, prepare, verify, export, evaluate, measure."""
