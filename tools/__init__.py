"""Tools that work on this repository and are no part of the wheel."""
