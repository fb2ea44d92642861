"""Work over folders: items, records, prompts, suites."""
