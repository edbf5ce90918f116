"""Addresses of services and proxies: what may stand in them, and what of them is shown."""

import os
import re
import urllib.parse
import urllib.request

_SECRET_ENDS = (
    *("key", "token", "secret", "password", "passwd", "passphrase", "pwd"),
    *("signature", "credential", "credentials", "auth", "authorization", "jwt"),
)
_SECRET_NAMES = ("pass", "pw", "sig", "code", "sas")
_LONGEST_LABEL = 63


def checked_url(url: str) -> str:
    """The URL of a service, if it can be asked and holds no secret.

    Raises:
      TypeError, ValueError: no URL of http or https with a host; a name, a password, or a
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
        # The URL stands in declarations and messages. It is not shown here either.
        raise ValueError("url must hold no name or password: give them as a header")
    if not parts.hostname:
        raise ValueError(f"url must name a host, got {shown_url(url)!r}")
    for name, _ in urllib.parse.parse_qsl(parts.query.replace(";", "&")):
        if _is_secret(name):
            raise ValueError(f"url must hold no secret: give {name!r:.40} as a header")
    return url


def shown_url(url: str) -> str:
    """A URL for messages: without name, password, fragment, and without what follows "?".

    Example:
      >>> shown_url("http://ann:pw@model.test/predict?model=3#x")
      'http://model.test/predict?...'
    """
    place, question, _ = url.partition("#")[0].partition("?")
    scheme, slashes, rest = place.rpartition("://")
    rest = re.split("@|%40", rest)[-1]
    return scheme.rpartition("@")[2] + slashes + rest + ("?..." if question else "")


def proxy_for(url: str) -> tuple[str, str] | None:
    """The proxy for a checked URL as the environment names it; None for none.

    Returns:
      The name of the variable, and its value.

    Raises:
      ValueError: the proxy is no URL of http or https. Names the variable only.
    """
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname):
        return None
    wanted = f"{parts.scheme}_proxy"
    named = [name for name in os.environ if name.lower() == wanted]
    name = sorted(named)[-1] if named else f"the system's {wanted}"  # lower case goes first
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
    """Name and password that a proxy's URL holds; None without a name."""
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
