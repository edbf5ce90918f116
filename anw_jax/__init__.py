"""Mark photos with a keyed hue rotation; prove from a model's loss that it trained on them.

Packages are imported by name (`from anw_jax import verify`); this file imports none, so
that an arbitrator needs only numpy, scipy and jax. Its one side effect is a flag in
`XLA_FLAGS`, on the versions of jax that compute wrong numbers on CPU without it.
"""

from anw_jax import _jax_flags

__version__ = "0.1.0"

_jax_flags.append_flag()
