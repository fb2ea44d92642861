"""Weight files: which there are, how to get them, how to load them."""
