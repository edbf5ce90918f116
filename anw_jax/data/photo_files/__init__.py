"""An owner's photo files: read with their metadata, and written again with marked pixels."""

from anw_jax.data.photo_files.encoding import (
    FORMATS,
    Encoded,
    Encoding,
    Original,
    encode,
    read_original,
)

__all__ = ["FORMATS", "Encoded", "Encoding", "Original", "encode", "read_original"]
