"""Recipes of the bundled mini models; run by ``tools/train_mini.py``."""
