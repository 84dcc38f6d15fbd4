"""From a catalog to batches: targets, splits, the cache of cropped pixels and the loaders."""
