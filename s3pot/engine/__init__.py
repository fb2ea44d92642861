"""What the scripts call: one file per script, and what they share."""
