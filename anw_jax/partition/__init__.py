"""Training with several data owners, none of whom shows an image.

`train_split` trains a network that is cut in two: each owner runs the bottom half in a process
of its own and sends activations, the server runs the top half. `Defence` is what owners do so
that activations tell little of the images; `masked_sum` averages their bottom halves, of which
nobody sees one. `find_images` searches a log of messages for images; `invert` shows what a
curious server can rebuild.
"""

from anw_jax.partition.channel import Channel, Leak, Message, find_images
from anw_jax.partition.defence import (
    Defence,
    distance_correlation,
    epsilon_of_message,
    released,
)
from anw_jax.partition.inversion import DEFAULT_ATTACKER, AttackerSettings, Inversion, invert
from anw_jax.partition.masked_sum import (
    Member,
    from_fixed_point,
    to_fixed_point,
    unmasked_sum,
)
from anw_jax.partition.owner import run_owner
from anw_jax.partition.server import RoundReport, SplitResult, serve
from anw_jax.partition.settings import SplitSettings
from anw_jax.partition.training import train_split

__all__ = [
    "DEFAULT_ATTACKER",
    "AttackerSettings",
    "Channel",
    "Defence",
    "Inversion",
    "Leak",
    "Member",
    "Message",
    "RoundReport",
    "SplitResult",
    "SplitSettings",
    "distance_correlation",
    "epsilon_of_message",
    "find_images",
    "from_fixed_point",
    "invert",
    "released",
    "run_owner",
    "serve",
    "to_fixed_point",
    "train_split",
    "unmasked_sum",
]
