"""Training of the adapter: steps, history, checkpoints."""
