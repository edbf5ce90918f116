"""One reader for each source of `data.load`."""
