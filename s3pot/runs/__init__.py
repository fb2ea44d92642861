"""Processing of whole folders: items, records, prompts, suites."""
