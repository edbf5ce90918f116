"""Timed comparisons and studies; see README.md. They are not tests: none passes or fails."""
