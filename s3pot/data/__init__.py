"""Images, folders, data sets and the feature cache."""
