"""One file per script, with its options and its one run."""
