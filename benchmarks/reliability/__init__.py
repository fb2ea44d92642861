"""Trials of the commands under what long jobs meet: kills, full disks, broken and hostile files."""
