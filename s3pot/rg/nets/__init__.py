"""Network definitions of the reference generator."""
