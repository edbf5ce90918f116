"""The pages of a preview: what a mark does to an owner's photos."""

import os
import pathlib

from anw_jax import _files, _json, data
from anw_jax.audit import Preview
from anw_jax.audit.preview import FILES, check_preview_out
from anw_jax.report import html
from anw_jax.report.style import data_uri

_MOST_NAMED = 20
_MOST_ROWS = 500


def write_preview(
    preview: Preview, photos: str | os.PathLike, out: str | os.PathLike
) -> pathlib.Path:
    """Write `preview.html` and `preview.png`, which need nothing else, and `preview.json`.

    Args:
      preview: what `audit.preview_folder` returned.
      photos: the folder of originals.
      out: a new folder, or that of an earlier preview, whose files are replaced.

    Returns:
      The path of the page.

    Raises:
      CaseError: another folder.
      OSError: a file cannot be written.
    """
    check_preview_out(photos, out)
    folder = pathlib.Path(photos).resolve().name
    page = html.page(
        "preview.html.j2",
        preview=preview,
        folder=folder,
        evidence=[line[0].upper() + line[1:] + "." for line in preview.evidence_lines],
        most_named=_MOST_NAMED,
        most_rows=_MOST_ROWS,
        uri=lambda body: data_uri(body, "image/jpeg"),
    )
    title = f"{folder}: mark {preview.mark_text}. Left: original. Right: with a random mark."
    sheet = data.contact_sheet(title, [photo.pair for photo in preview.shown])
    body = _json.dumps(preview.as_json(), indent=1) + "\n"
    out = pathlib.Path(out)
    for name, content in zip(FILES, (page.encode(), sheet, body.encode()), strict=True):
        _files.write_whole(out / name, content)
    return out / FILES[0]
