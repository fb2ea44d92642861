"""RG, reference generation: align, parse, invert."""
