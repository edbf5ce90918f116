"""Make the standard streams accept any text, whatever their encoding."""

import codecs
import sys

_ERRORS = "anw_jax.plain"
_PLAIN = dict(zip("≤≥→…–−×±", ["<=", ">=", "->", "...", "-", "-", "x", "+-"], strict=True))


def make_streams_total() -> None:
    r"""Lets standard output and standard error spell what their encoding lacks otherwise.

    "≤" becomes "<=", a letter of a file's name an escape such as "\u732b". On Windows piped
    output has an old code page, and a file's name may hold bytes of no text at all; neither may
    end a command that has done its work. The encoding itself stays.
    """
    codecs.register_error(_ERRORS, _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stand-in need not have it
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in letters)
    spelt = (_PLAIN.get(c, text) for c, text in zip(letters, escaped, strict=True))
    return "".join(spelt), error.end
