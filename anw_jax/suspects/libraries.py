"""What is said where an optional library is missing."""

from anw_jax.errors import MissingLibraryError


def missing(what: str, extra: str) -> MissingLibraryError:
    """The error that names the extra to install.

    Example:
      >>> str(missing("asking an ONNX file", "onnx"))
      "asking an ONNX file needs the extra 'onnx': pip install 'anw_jax[onnx]'"
    """
    return MissingLibraryError(
        f"{what} needs the extra {extra!r}: pip install 'anw_jax[{extra}]'"
    )
