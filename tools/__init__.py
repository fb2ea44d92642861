"""Programs for maintainers: measurements on photos, tuning of baselines, reports."""
