"""The adapter is trained: steps, history, checkpoints."""
