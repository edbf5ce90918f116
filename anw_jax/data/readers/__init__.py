"""Readers: one module for each source of `data.load`, and for each layout of `folder:`."""
