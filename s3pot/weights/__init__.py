"""Weight files: the registry, downloading, checking and loading."""
