"""Mark photos with a keyed hue rotation; prove from a model's loss that it trained on them.

Rooms are imported by name (`from anw_jax import verify`); this file imports none, so
that an arbitrator needs only numpy, scipy and jax.
"""

__version__ = "0.1.0"
