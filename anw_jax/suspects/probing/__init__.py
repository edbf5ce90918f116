"""Checks, before an audit, that a model is queried correctly."""
