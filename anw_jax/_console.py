"""Standard streams that take any text, whatever the console or the pipe can hold."""

import sys


def make_streams_total() -> None:
    r"""Lets standard output and standard error write what their encoding lacks as "\u2264".

    On Windows piped output has an old code page, and a file's name may hold bytes of no text at
    all; neither may end a command that has done its work. The encoding itself stays.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stand-in need not have it
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
