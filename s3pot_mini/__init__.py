"""Training recipes of the bundled mini models; run with ``python -m s3pot_mini``."""
