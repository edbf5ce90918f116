"""`python -m anw_jax.cli`."""

from anw_jax.cli.main import main

if __name__ == "__main__":
    main()
