"""What a reply means: an answer, a refusal of one picture, or trouble of the whole service."""

import json
import urllib.parse
from typing import Any

from anw_jax import _json
from anw_jax.errors import RefusedPictureError, SuspectError
from anw_jax.suspects.answers import Answers
from anw_jax.suspects.declaration import Declaration
from anw_jax.suspects.http.answer import AnswerTemplate
from anw_jax.suspects.http.client import Reply
from anw_jax.suspects.http.secrets import Secrets, not_shown, shown_url

# Statuses of a service that is there and will not answer now. It did no work for these two.
LOADING = 503
REFUSED = (429, LOADING)
_TRY_AGAIN = (408, 429)

_ANSWERED = (200, 201)
# Of the statuses 4xx, those that refuse whatever is asked: credentials, payment, address,
# method, proxy, time, a service that is gone, speed.
_OF_ALL = (401, 402, 403, 404, 405, 407, 408, 410, 429)


def is_for_now(status: int) -> bool:
    """Whether a status says that another attempt may be answered: 408, 429, and 5xx."""
    return status in _TRY_AGAIN or status >= 500


class Reader:
    """Reads the replies of one service; every message about them is made here.

    Args:
      url: of the service.
      template: how an answer is read.
      secrets: what no message may repeat.
    """

    def __init__(self, url: str, template: AnswerTemplate, secrets: Secrets):
        self._url, self._template, self._secrets = url, template, secrets

    def trouble(self, what: str, said: str | None = None) -> str:
        """A message: the URL, what happened, and the beginning of what the service said.

        Args:
          what: of our own words alone.
          said: by the service.
        """
        message = f"{shown_url(self._url)} {what}"
        return message if said is None else f"{message}: {self._secrets.shown(said)}"

    def quoting(self, what: str, joint: str = ": ") -> str:
        """A message with words of the service in the midst of ours, `joint` after the URL."""
        name = self._secrets.repeated_in(what)
        if name is not None:
            what, joint = f"the answer is not as declared {not_shown(name)}", ": "
        return f"{shown_url(self._url)}{joint}{what}"

    def status(self, reply: Reply) -> str:
        """What to say of a reply that is no answer."""
        what = f"answers with status {reply.status}"
        location = reply.headers.get("location")
        if 300 <= reply.status < 400 and location is not None:
            return self.trouble(f"{what}, which points to {self._place(location)}")
        return self.trouble(what, reply.text)

    def answers(
        self, reply: Reply, declaration: Declaration, num_images: int
    ) -> list[Answers | RefusedPictureError]:
        """An answer for each picture, or why it has none.

        Raises:
          RefusedPictureError: at least one of the pictures is refused, not known which.
          SuspectError: what concerns the whole service.
        """
        if reply.status not in _ANSWERED:
            is_of_picture = 400 <= reply.status < 500 and reply.status not in _OF_ALL
            raise (RefusedPictureError if is_of_picture else SuspectError)(self.status(reply))
        body = self._parsed(reply)
        try:
            found = self._template.read_each(body, declaration, num_images)
        except RecursionError:  # of quoting it
            raise SuspectError(self.trouble(_TOO_DEEP)) from None
        except SuspectError as error:
            raise type(error)(self.quoting(str(error))) from None
        return [
            RefusedPictureError(self.quoting(str(one)))
            if isinstance(one, RefusedPictureError)
            else one
            for one in found
        ]

    def _place(self, location: str) -> str:
        """Where a redirect leads, which is not followed."""
        try:
            place = shown_url(urllib.parse.urljoin(self._url, location))
        except ValueError:
            place = shown_url(location)
        return f"{self._secrets.shown(place)}: give the address that answers as url"

    def _parsed(self, reply: Reply) -> Any:
        text = reply.text.removeprefix("\ufeff")
        try:
            return _json.loads(text, allow_nan=True)
        except RecursionError:
            raise SuspectError(self.trouble(_TOO_DEEP)) from None
        except ValueError as error:
            problem = _problem(reply, text, error)
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if problem.endswith("JSON") and kind and "json" not in kind:
            problem += f" but {self._secrets.shown(kind)}"
        said = None if reply.body[:2] == _GZIP or not text.strip() else text
        raise SuspectError(self.trouble(problem, said))


_TOO_DEEP = "answers with JSON nested too deep"
_GZIP = b"\x1f\x8b"
_BEGINNINGS = '{["-0123456789tfnNI'  # of JSON, with NaN and Infinity


def _problem(reply: Reply, text: str, error: ValueError) -> str:
    """Why a body is no JSON."""
    if not text.strip():
        return "answers with an empty body"
    if reply.body[:2] == _GZIP:
        return "answers with gzip that no content-encoding announces"
    if text.lstrip()[:1] == "<":
        return "answers with HTML, not JSON"
    if isinstance(error, _json.FieldTwiceError):
        return "answers with JSON in which one field stands twice"
    if not isinstance(error, json.JSONDecodeError):
        return "answers with a number too large to be one"
    if text.lstrip()[:1] not in _BEGINNINGS:
        return "answers with what is not JSON"
    if error.msg == "Extra data":
        return f"answers with JSON and more behind it at character {error.pos}"
    return f"answers with JSON that is cut off or malformed at character {error.pos}"
