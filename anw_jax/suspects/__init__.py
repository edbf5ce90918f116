"""Query any model, and turn its answers into a loss table.

A *suspect* is any object with a `declaration` (which pictures it takes, how it answers) and a
method `answers(images)`. `probe` detects common configuration mistakes before the audit
starts. `ask` fills the loss table that `anw_jax.stats` tests; a `QuerySession` queries single
pairs of image and slot. `AnswerCache` stores every answer, so that no query is sent twice.
`Access` selects which part of the model output is used; the exact test is valid for every
choice. A model from images to images is asked by `ask_images` or, as a function for
`schemes.barrier.extract`, `images_fn`.

The adapters import their libraries only when they are used; the error about a missing one
names the extra to install: onnx, torch, keras, http.
"""

from anw_jax.suspects.access import Access
from anw_jax.suspects.adapters.denoiser import DenoisingSuspect
from anw_jax.suspects.adapters.jax import CallableSuspect, JaxSuspect, LossSuspect
from anw_jax.suspects.adapters.keras import KerasSuspect
from anw_jax.suspects.adapters.onnx import OnnxSuspect
from anw_jax.suspects.adapters.recorded import RecordedSuspect
from anw_jax.suspects.adapters.schedule import NoiseSchedule
from anw_jax.suspects.adapters.torch import TorchSuspect
from anw_jax.suspects.cache import AnswerCache
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.http.answer import AnswerTemplate
from anw_jax.suspects.http.endpoint import HttpOptions, HttpSuspect
from anw_jax.suspects.http.request import RequestTemplate
from anw_jax.suspects.images import ask_images, images_fn
from anw_jax.suspects.pictures import Augmentation
from anw_jax.suspects.probing.images import probe_images
from anw_jax.suspects.probing.probe import Finding, Report, probe
from anw_jax.suspects.protocol import Answers, Suspect
from anw_jax.suspects.session import QuerySession, ask

Interview = QuerySession  # the former name

__all__ = [
    "Access",
    "AnswerCache",
    "AnswerTemplate",
    "Answers",
    "Augmentation",
    "CallableSuspect",
    "Declaration",
    "DenoisingSuspect",
    "Finding",
    "HttpOptions",
    "HttpSuspect",
    "Interview",
    "JaxSuspect",
    "KerasSuspect",
    "LossSuspect",
    "NoiseSchedule",
    "OnnxSuspect",
    "QuerySession",
    "RecordedSuspect",
    "Report",
    "RequestTemplate",
    "Suspect",
    "TorchSuspect",
    "ask",
    "ask_images",
    "images_fn",
    "probe",
    "probe_images",
]
