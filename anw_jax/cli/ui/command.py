"""`anw ui`: start the server and open the page."""

import html
import pathlib
import sys
import tempfile
import threading
import webbrowser

import click

from anw_jax import _files
from anw_jax.cli import output
from anw_jax.cli.preview import page_libraries
from anw_jax.cli.ui.server import Server
from anw_jax.cli.ui.session import Session


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port; by default any that is free.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def ui(port: int, no_browser: bool) -> int:
    """Choose photos, see them with a mark, commit, mark and read a verdict, in a browser.

    The page is served at 127.0.0.1 to whoever has the address that is printed, with its random
    token; nothing is sent to another machine. Each step does what its command does. Ctrl-C
    ends it.

    \b
    Examples:
      anw ui
      anw ui --port 8642 --no-browser
    """
    with page_libraries():
        import anw_jax.report  # noqa: F401
    with tempfile.TemporaryDirectory(prefix="anw-ui-") as work:
        with _server(pathlib.Path(work), port) as server:
            click.echo(f"{server.address}\nopen it in a browser; Ctrl-C ends", file=sys.stdout)
            if not no_browser:
                door = _doorway(pathlib.Path(work), server.address).as_uri()
                # In a thread: a browser in the terminal would keep the server waiting.
                threading.Thread(target=webbrowser.open, args=(door,), daemon=True).start()
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                pass
    return output.DONE


def _server(work: pathlib.Path, port: int) -> Server:
    try:
        return Server(Session(work), port)
    except OSError as error:
        raise OSError(f"--port must be free, got {port} ({error.strerror})") from None


def _doorway(work: pathlib.Path, address: str) -> pathlib.Path:
    """Write a page that leads to the address: other users see the arguments of a browser."""
    page = work / "open.html"
    target = html.escape(address)
    body = f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={target}">'
    _files.write_new(page, body.encode(), mode=0o600)
    return page
