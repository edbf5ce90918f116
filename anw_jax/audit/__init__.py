"""File-based audits: the arbitrator's workflow, and the owner's side of it.

The order is enforced by the files of a `Case`, each of which records the SHA-256 of its
predecessor: `probe_case` → `declare` → `seal_case` (or `run_rounds` with `answer_request`, leaf
by leaf) → `judge_case` (or `judge_record`). Only the verdict of a sealed case opens keys. Every
step is resumable: answers are cached on disk, so no query is paid for twice.

`preview_folder`, `commit_folder` and `publish_folder` are the owner's steps; the two passes of
the latter over the photos (`digest_pass`, `mark_pass`) can be run on many machines. `estimate`
computes what an audit will need; `stamps` and `signatures` verify when files were made, and by
whom; `replay_case` recomputes a verdict from the files; `bundle_case` zips them.
"""

from anw_jax.audit.anchors import CaseAnchors, compare_anchors
from anw_jax.audit.bundle import bundle_case
from anw_jax.audit.bundle_write import Bundled
from anw_jax.audit.case import Case, Owner
from anw_jax.audit.commit import Committed, commit_folder, digest_pass
from anw_jax.audit.corrections import corrected
from anw_jax.audit.declare import declare
from anw_jax.audit.estimate import ExpectedEvidence, effects, estimate, reached
from anw_jax.audit.exchange import Opened, answer_request
from anw_jax.audit.folder_report import FolderReport, report_lines, report_on
from anw_jax.audit.judge import judge_case
from anw_jax.audit.labels import Labels, arbitrator_labels, read_labels
from anw_jax.audit.marking import Marked, mark_pass, publish_folder, survey
from anw_jax.audit.new_case import new_case
from anw_jax.audit.options import Choices, Options
from anw_jax.audit.preview import Preview, ThrowAwayMark, preview_folder
from anw_jax.audit.probe import probe_case
from anw_jax.audit.published import Published, read_published
from anw_jax.audit.records import judge_record
from anw_jax.audit.replay import Replayed, replay_case
from anw_jax.audit.rounds import AuditState, RecordState, Waiting, run_rounds
from anw_jax.audit.seal import seal_case
from anw_jax.audit.signatures import (
    Signature,
    check_signature,
    check_signatures,
    new_signing_key,
    sign_file,
)
from anw_jax.audit.stamps import (
    TrustAnchors,
    read_stamps,
    read_trust_anchors,
    stamps_of,
    write_request,
)
from anw_jax.audit.suspect_file import SuspectFile

__all__ = [
    "AuditState",
    "Bundled",
    "Case",
    "CaseAnchors",
    "Choices",
    "Committed",
    "ExpectedEvidence",
    "FolderReport",
    "Labels",
    "Marked",
    "Opened",
    "Options",
    "Owner",
    "Preview",
    "Published",
    "RecordState",
    "Replayed",
    "Signature",
    "SuspectFile",
    "ThrowAwayMark",
    "TrustAnchors",
    "Waiting",
    "answer_request",
    "arbitrator_labels",
    "bundle_case",
    "check_signature",
    "check_signatures",
    "commit_folder",
    "compare_anchors",
    "corrected",
    "declare",
    "digest_pass",
    "effects",
    "estimate",
    "judge_case",
    "judge_record",
    "mark_pass",
    "new_case",
    "new_signing_key",
    "preview_folder",
    "probe_case",
    "publish_folder",
    "reached",
    "read_labels",
    "read_published",
    "read_stamps",
    "read_trust_anchors",
    "replay_case",
    "report_lines",
    "report_on",
    "run_rounds",
    "seal_case",
    "sign_file",
    "stamps_of",
    "survey",
    "write_request",
]
