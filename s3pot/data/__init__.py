"""Images, folders, datasets and the feature cache."""
