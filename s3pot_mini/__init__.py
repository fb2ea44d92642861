"""Recipes of the bundled mini models; run by ``-m s3pot_mini``."""
