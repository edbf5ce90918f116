"""Timed comparisons; see README.md. Not tests: nothing here passes or fails."""
