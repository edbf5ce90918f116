"""Check URLs and headers, and keep the secrets in them out of messages."""

import base64
import binascii
import html
import os
import re
import unicodedata
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping

from anw_jax import _check

# This many letters of a value in a row reveal it; shorter values count as a whole.
_TELLING = 6
_SHORTEST = 3
# How much of a service's text is searched for secrets; less of it is shown.
_LOOKED_AT, _LONGEST = 2000, 100
_SCHEMES = ("bearer", "basic", "token", "key", "apikey", "digest", "negotiate")
# The values of these are not secret, and ordinary error messages repeat them.
_PLAIN = ("accept", "accept-language", "host", "user-agent")
# The client sets these itself.
_OWN = ("content-length", "content-type", "transfer-encoding")


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    r"""Return the headers to send: names in lower case, values without space around them.

    A line end after a value, as in files of secrets, is cut off. No error shows a value.

    Raises:
      TypeError, ValueError: it cannot be sent as a header.

    Example:
      >>> checked_headers({"Authorization": "Bearer abc\n"})
      {'authorization': 'Bearer abc'}
    """
    checked = {}
    for name, value in _check.is_instance(Mapping, headers=headers).items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError("the name of a header must be letters, digits and dashes")
        if not isinstance(value, str):
            raise TypeError(f"header {name} must be a str, got {type(value).__name__}")
        value = value.strip("\ufeff \t\r\n\v\f\0")
        if not value:
            raise ValueError(f"header {name} must not be empty")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(
                f"header {name} must be one line of printable ASCII; its value is not shown"
            )
        if name.lower() in _OWN or name.lower() in checked:
            why = "is written by the request itself" if name.lower() in _OWN else "stands twice"
            raise ValueError(f"header {name} must be left out: it {why}")
        checked[name.lower()] = value
    return checked


class Secrets:
    """Finds values of headers in text of a service, in any spelling.

    Args:
      headers: from `checked_headers`.
      further: other secrets that are sent, by what messages call them.

    Example:
      >>> secrets = Secrets({"authorization": "Bearer abc123xyz"})
      >>> secrets.repeated_in("no such model"), secrets.repeated_in("bad key: ABC123XYZ")
      (None, "header 'authorization'")
    """

    def __init__(self, headers: Mapping[str, str], further: Mapping[str, str] | None = None):
        named = {
            f"header {name!r}": text for name, text in headers.items() if name not in _PLAIN
        }
        self._needles = [
            (name, needle)
            for name, text in {**named, **(further or {})}.items()
            for piece in _pieces(text)
            for needle in _needles(piece)
        ]

    def repeated_in(self, text: str) -> str | None:
        """Return the name of a secret in a text; None if there is none."""
        if not self._needles:
            return None
        spellings = _spellings(text[:_LOOKED_AT])
        haystacks = [*spellings, *(_letters(spelling) for spelling in spellings)]
        for name, needle in self._needles:
            if any(needle in haystack for haystack in haystacks):
                return name
        return None

    def shown(self, text: str) -> str:
        """Return the beginning of a text in quotes, or that it is not shown."""
        name = self.repeated_in(text)
        if name is not None:
            return not_shown(name)
        text = " ".join(text[:1000].split())
        return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")


def not_shown(name: str) -> str:
    """Return what replaces a text that repeats a secret."""
    return f"(it repeats {name} and is not shown)"


def _pieces(value: str) -> list[str]:
    """Return the secret parts of a header's value, without the name of the scheme."""
    words = re.split(r"[\s,;]+", value)
    if len(words) > 1 and words[0].lower() in _SCHEMES:
        words = words[1:]
    pieces = [re.sub(r"^[A-Za-z0-9_.-]+=(?=[^=])", "", word).strip("\"'") for word in words]
    for piece in list(pieces):
        for text in _from_base64(piece):
            if text.isprintable() and ":" in text:  # name:password of the Basic scheme
                pieces.append(text.partition(":")[2])
    return [piece for piece in pieces if len(piece) >= _SHORTEST]


def _needles(piece: str) -> list[str]:
    letters = _letters(piece)
    if len(letters) < _SHORTEST:
        return [piece]
    last = max(0, len(letters) - _TELLING)
    return [letters[start : start + _TELLING] for start in range(last + 1)]


def _letters(text: str) -> str:
    return re.sub("[^0-9a-z]", "", unicodedata.normalize("NFKC", text).lower())


def _spellings(text: str) -> set[str]:
    """Return a text and its decodings, once or twice."""
    found, new = {text}, {text}
    for _ in range(2):
        new = {
            decoded for one in new for decode in _DECODERS for decoded in decode(one)
        } - found
        found |= new
    return found


def _unescaped(text: str) -> list[str]:
    def character(match: re.Match) -> str:
        return chr(int(next(group for group in match.groups() if group), 16))

    pattern = r"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})|=([0-9A-F]{2})"
    return [re.sub(pattern, character, text)]


def _from_base64(text: str) -> list[str]:
    """Decode the runs of base64 in a text, from each place at which a group may begin."""
    found = []
    for run in re.findall("[A-Za-z0-9+/_-]{4,}", text):
        run = run.replace("-", "+").replace("_", "/")
        for start in range(4):
            whole = run[start : start + (len(run) - start) // 4 * 4]
            rest = run[start + len(whole) :]
            if len(rest) > 1:
                whole += rest + "=" * (4 - len(rest))
            found.append(base64.b64decode(whole).decode("latin-1"))
    return found


def _from_hex(text: str) -> list[str]:
    runs = re.findall(r"(?:[0-9a-fA-F]{2}[\s:-]?){3,}", text)
    digits = (re.sub("[^0-9a-fA-F]", "", run) for run in runs)
    return [binascii.unhexlify(run[: len(run) // 2 * 2]).decode("latin-1") for run in digits]


def _from_numbers(text: str) -> list[str]:
    """Decode lists of character codes."""
    runs = re.findall(r"[0-9]{2,3}(?:\s*,\s*[0-9]{2,3}){2,}", text)
    return ["".join(chr(int(number)) for number in re.findall("[0-9]+", run)) for run in runs]


_DECODERS: tuple[Callable[[str], list[str]], ...] = (
    lambda text: [urllib.parse.unquote(text)],
    lambda text: [html.unescape(text)],
    _unescaped,
    _from_base64,
    _from_hex,
    _from_numbers,
)


_SECRET_ENDS = (
    *("key", "token", "secret", "password", "passwd", "passphrase", "pwd"),
    *("signature", "credential", "credentials", "auth", "authorization", "jwt"),
)
_SECRET_NAMES = ("pass", "pw", "sig", "code", "sas")
_LONGEST_LABEL = 63


def checked_url(url: str) -> str:
    """Return the URL of a service if it can be queried and holds no secret.

    Raises:
      TypeError, ValueError: not a URL of http or https with a host; a name, a password, or a
        parameter such as `key` or `access_token` in it.

    Example:
      >>> checked_url("http://model.test/predict?version=3")
      'http://model.test/predict?version=3'
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, got {type(url).__name__}")
    if not re.match("https?://", url, re.IGNORECASE):
        raise ValueError(f"url must begin with http:// or https://, got {shown_url(url)!r}")
    if not url.isprintable() or re.search(r"[\s\\]", url):
        raise ValueError("url must hold no spaces, line ends or backslashes")
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = parts.port != 0 and _is_host(parts.hostname or "x")
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(f"url must be a URL, got {shown_url(url)!r}")
    if "@" in urllib.parse.unquote(parts.netloc):
        # Declarations and messages contain the URL. It is not shown here either.
        raise ValueError("url must hold no name or password: give them as a header")
    if not parts.hostname:
        raise ValueError(f"url must name a host, got {shown_url(url)!r}")
    for name, _ in urllib.parse.parse_qsl(parts.query.replace(";", "&")):
        if _is_secret(name):
            raise ValueError(f"url must hold no secret: give {name!r:.40} as a header")
    return url


def shown_url(url: str) -> str:
    """Return a URL for messages, without name, password, fragment and query.

    Example:
      >>> shown_url("http://ann:pw@model.test/predict?model=3#x")
      'http://model.test/predict?...'
    """
    place, question, _ = url.partition("#")[0].partition("?")
    scheme, slashes, rest = place.rpartition("://")
    rest = re.split("@|%40", rest)[-1]
    return scheme.rpartition("@")[2] + slashes + rest + ("?..." if question else "")


def proxy_for(url: str) -> tuple[str, str] | None:
    """Return the proxy that the environment names for a checked URL; None for none.

    Returns:
      The name of the variable, and its value.

    Raises:
      ValueError: the proxy is not a URL of http or https. Shows the variable's name only.
    """
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname):
        return None
    wanted = f"{parts.scheme}_proxy"
    named = [name for name in os.environ if name.lower() == wanted]
    name = sorted(named)[-1] if named else f"the system's {wanted}"  # lower case has priority
    try:
        split = urllib.parse.urlsplit(proxy)
        is_url = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(
            f"the environment variable {name} must be http://host:port or https://host:port; "
            "its value is not shown"
        )
    return name, proxy


def password_of(proxy: str) -> tuple[str, str] | None:
    """Return name and password in a proxy's URL; None without a name."""
    parts = urllib.parse.urlsplit(proxy)
    if parts.username is None:
        return None
    return tuple(urllib.parse.unquote(part or "") for part in (parts.username, parts.password))


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return ":" in host or all(0 < len(label) <= _LONGEST_LABEL for label in labels)


def _is_secret(name: str) -> bool:
    name = name.strip().lower()
    return name in _SECRET_NAMES or name.endswith(_SECRET_ENDS)
