"""Training with several data owners, none of whom shows an image.

`masked_sum` adds vectors of which nobody sees one, although some parties leave.
"""

from anw_jax.partition.masked_sum import (
    Member,
    from_fixed_point,
    to_fixed_point,
    unmasked_sum,
)

__all__ = ["Member", "from_fixed_point", "to_fixed_point", "unmasked_sum"]
