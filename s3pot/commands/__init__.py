"""One file per command: its options, and a single call that does its work."""
