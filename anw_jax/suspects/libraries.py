"""What is said where an optional library is missing."""

from anw_jax.errors import MissingLibraryError


def missing(what: str, extra: str) -> MissingLibraryError:
    """The error that names the extra to install.

    From the checkout: the package is on no index, and there anybody may take its name.

    Example:
      >>> str(missing("asking an ONNX file", "onnx"))
      "asking an ONNX file needs the extra 'onnx': pip install '.[onnx]' in the checkout"
    """
    return MissingLibraryError(
        f"{what} needs the extra {extra!r}: pip install '.[{extra}]' in the checkout"
    )
