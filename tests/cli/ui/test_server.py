"""Only the page may ask, and it sees the chosen folder only."""

import os

import pytest

from anw_jax.cli.ui.server import Server

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

PATHS = ["", "state", "ui.js", "photo/0.jpg", "preview/preview.html", "no/such"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "x" * 43, "../x", "%C3%A9", "%00"])
def test_other_tokens_are_refused(client, path, token):
    for method in ("GET", "POST"):
        answer = client.ask(method, path, {}, token=token)
        assert answer.code == 404
        assert set(answer.json) == {"error"}


def test_a_token_is_new_each_time_and_compared_in_constant_time(client, monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", os.urandom)
    other = Server(client.session)
    other.server_close()
    assert other.token != client.server.token
    assert len(other.token) >= 43
    compared = []
    monkeypatch.setattr(
        "anw_jax.cli.ui.server.hmac.compare_digest",
        lambda one, two: bool(compared.append((one, two))) or one == two,
    )
    near = client.server.token[:-1]
    assert client.get("state", token=near).code == 404
    assert compared == [(near.encode(), client.server.token.encode())]


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "", None])
def test_other_hosts_are_refused(client, host):
    """A web site can point its own name at 127.0.0.1."""
    for method in ("GET", "POST"):
        assert client.ask(method, "state", {}, Host=host).code == 403
    evil = f"evil.example:{client.server.server_port}"
    assert client.get("state", Host=evil).code == 403
    assert client.get("state").code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", None])
def test_other_origins_are_refused(client, photos, origin):
    answer = client.post("open", {"folder": str(photos)}, Origin=origin)
    assert (answer.code, client.session.folder) == (403, None)
    if origin is not None:
        assert client.get("state", Origin=origin).code == 403
    assert client.post("open", {"folder": str(photos)}).code == 200


def test_it_listens_on_this_machine_only(client):
    assert client.server.server_address[0] == "127.0.0.1"
    assert client.server.address.startswith("http://127.0.0.1:")


def test_the_page_loads_nothing_from_elsewhere(client):
    answer = client.get("")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    for path in ("", "ui.css", "ui.js"):
        body = client.get(path).body.decode()
        assert "http:" not in body
        assert "https:" not in body
        assert "//" not in body.replace("\n//", "\n").replace("  //", "  ")


@pytest.mark.parametrize(
    "path",
    [
        "../photos/a.jpg",
        "photo/..%2f..%2fetc%2fpasswd.jpg",
        "photo/-1.jpg",
        "photo/99.jpg",
        "photo/0.jpg/../../x",
        "preview/../open.html",
        "preview/preview.json",
        "/etc/passwd",
        "ui.html",
        "server.py",
        "work",
        "",
    ],
)
def test_nothing_else_is_served(client, photos, path):
    client.post("open", {"folder": str(photos)})
    (client.session.work / "open.html").write_text("the token")
    answer = client.get(path)
    assert answer.code in ((200,) if path == "" else (400, 404))
    assert b"the token" not in answer.body
    assert b"root:" not in answer.body


def test_a_link_out_of_the_folder_is_not_followed(client, photos, tmp_path):
    (photos / "b.png").rename(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", photos / "b.png")
    client.post("open", {"folder": str(photos)})
    names = client.get("state").json["names"]
    answer = client.get(f"photo/{names.index('b.png')}.jpg")
    assert (answer.code, answer.json) == (
        400,
        {"error": "b.png is a link that leaves the chosen folder"},
    )
    assert client.get("photo/0.jpg").body[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("mark=lihgt", "mark must be one of"),
        ("mark=light&strength=0", "strength must be above 0, got 0"),
        ("mark=light&strength=x", "could not convert string to float"),
        ("mark=hue&strength=.2", "strength must be left out of the mark 'hue'"),
    ],
)
def test_bad_pictures(client, photos, query, text):
    client.post("open", {"folder": str(photos)})
    answer = client.get(f"photo/0.jpg?{query}")
    assert answer.code == 400
    assert text in answer.json["error"]


@pytest.mark.parametrize(
    ("step", "body", "text"),
    [
        ("open", b"[]", "the request must be an object"),
        ("open", b"{", ""),
        ("open", b'{"folder": 1}', "folder must be a plain str, got int"),
        ("open", b'{"folder": " "}', "folder must be a path, got ' '"),
        ("open", b'{"folder": "/no/such/folder"}', "is not there: give an existing folder"),
        ("open", b'{"folder": "a", "folder": "b"}', ""),
        ("preview", b"{}", "choose a folder of photos first"),
        ("mark", b"{}", "choose a folder of photos first"),
        ("verdict", b'{"path": ""}', "path must be a path"),
        ("key", b'{"key": "\\u0000"}', "key must be a path"),
    ],
)
def test_bad_requests_are_named(client, step, body, text):
    answer = client.post(step, body)
    assert answer.code == 400
    assert text in answer.json["error"]
    assert client.get("state").json["job"] is None


def test_sizes_are_checked(client):
    for length in ("-1", "x", str(2**40)):
        answer = client.post("open", b"{}", **{"Content-Length": length})
        assert "Content-Length must be at most 1,048,576" in answer.json["error"]
    assert client.post("no_such_step").code == 404


@pytest.mark.parametrize(
    "name",
    ["", "/etc/x.png", "../x.png", "a/../../x.png", "a//b.png", "C:x.png", "a\\b.png", "a\0"],
)
def test_dropped_files_stay_in_their_folder(client, name, tmp_path):
    client.post("begin_drop")
    before = sorted(tmp_path.rglob("*"))
    answer = client.ask("POST", f"drop?name={name.replace(chr(0), '%00')}", b"x")
    assert answer.code == 400
    assert "name must be a path inside the dropped folder" in answer.json["error"]
    assert sorted(tmp_path.rglob("*")) == before
