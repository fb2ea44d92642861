"""Reliability trials of the commands: kills, full disks, broken and hostile files."""
