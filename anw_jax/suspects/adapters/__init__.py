"""Adapters: one file for each way in which a model can be at hand."""
