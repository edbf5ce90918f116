"""The `anw` command: a thin layer over `anw_jax.audit`. `python -m anw_jax.cli` is the same."""
