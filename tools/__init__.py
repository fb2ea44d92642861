"""Programs for maintainers: measuring on photos, tuning baselines, reports."""
