"""Output for readers: pictures, tables, pages."""
