"""Figures and pages from result files, without training, querying or testing again.

* `write_report(workdir)`: `report.html` and `figures/` of one run.
* `write_scheme_report(workdir)`: the same of a run with watermarks in models.
* `write_copies_report(workdir)`: the same of a run with customers' copies.
* `write_outputs_report(workdir)`: the same of a run with marked outputs.
* `write_pictures_report(workdir)`: the same of a run with pictures hidden in outputs.
* `write_case_report(case)`: the page of a finished audit.
* `models_page.write_models_report(case)`: the same of a case of models; needs the extra 'run'.
* `write_preview(preview, folder)`: what a mark does to an owner's photos.
* `results_table(folder)`: a Markdown table over the seeds of an experiment.
* `write_picture_rows(path, rows)`: rows of small pictures, each with a name.
* `write_readme_figure(folder_or_workdir, path)`: one figure that shows the idea.

`python -m anw_jax.report <folder>` prints the table of a folder of seeds, or writes the
page of a workdir anew.
"""

from anw_jax.report.case_page import write_case_report
from anw_jax.report.copies_page import write_copies_report
from anw_jax.report.outputs_page import write_outputs_report
from anw_jax.report.page import write_report
from anw_jax.report.photos import write_readme_figure
from anw_jax.report.picture_rows import write_picture_rows
from anw_jax.report.pictures_page import write_pictures_report
from anw_jax.report.preview_page import write_preview
from anw_jax.report.scheme_page import write_scheme_report
from anw_jax.report.table import results_table

__all__ = [
    "results_table",
    "write_case_report",
    "write_copies_report",
    "write_outputs_report",
    "write_picture_rows",
    "write_pictures_report",
    "write_preview",
    "write_readme_figure",
    "write_report",
    "write_scheme_report",
]
