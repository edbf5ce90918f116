"""Tables of labels as people write them: read in full, or refused in one line."""

import unicodedata

import numpy as np
import pytest

from anw_jax import audit
from anw_jax.audit.labels import check_label_files
from anw_jax.errors import CaseError
from anw_jax.keys import Manifest, SignatureSpace
from anw_jax.keys.plan import labels_digest

NFC, NFD = (unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD"))


def manifest(*names):
    photos = np.arange(len(names) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3)
    return Manifest.of(photos, SignatureSpace(), file_names=names)


TWO = manifest("a.png", "b.png")


@pytest.fixture
def table(tmp_path):
    """Writes a table and reads it."""

    def read(body, of=TWO, words=None, arbitrator_words=None):
        (tmp_path / "labels.csv").write_bytes(
            body if isinstance(body, bytes) else body.encode()
        )
        paths = {"words": words, "arbitrator_words": arbitrator_words}
        for name, text in paths.items():
            if text is not None:
                (tmp_path / f"{name}.csv").write_text(text)
                paths[name] = tmp_path / f"{name}.csv"
        return audit.read_labels(tmp_path / "labels.csv", of, **paths)

    return read


def message(table, body, **how):
    with pytest.raises(CaseError) as error:
        table(body, **how)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text.partition("labels.csv ")[2] or text


@pytest.mark.parametrize(
    "body",
    [
        "a.png,3\nb.png,4\n",
        "a.png;3\nb.png;4\n",
        "a.png\t3\nb.png\t4",
        "file;label\r\na.png;3\r\nb.png;4\r\n",
        "File,Label\n\n b.png , 4\na.png,03\n,\n",
        '"a.png","3"\n"b.png",4\n',
        "a.png,3\rb.png,4\r",  # as old Macs end lines
        "\ufeffa.png,3\nb.png,4\n",
        "a.png,3\nb.png,4\n".encode("utf-16"),
        "file\tclass number\na.png\t3\nb.png\t4".encode("utf-16-be").join([b"\xfe\xff", b""]),
        "a.png,3\na.png,3\nb.png,4\n",
    ],
)
def test_one_table_in_many_spellings(table, body):
    labels = table(body)
    assert labels.classes.tolist() == [3, 4]
    assert labels.digest == labels_digest([3, 4])


@pytest.mark.parametrize("written", [NFC, NFD])
@pytest.mark.parametrize("named", [NFC, NFD])
def test_names_are_the_same_in_each_unicode_form(table, written, named):
    labels = table(f"{written},1\nb.png,2\n", manifest(named, "b.png"))
    assert labels.classes.tolist() == [1, 2]


@pytest.mark.parametrize("name", [" a.png", "a.png ", "a .png ", "\u3000a.png", "a.png\t"])
def test_names_with_outer_spaces_can_be_labelled(table, name):
    for written in (name, name.strip()):
        assert table(f'"{written}",1\nb.png,2', manifest(name, "b.png")).classes.tolist() == [
            1,
            2,
        ]


def test_names_that_differ_in_spaces_or_form_alone_need_their_very_spelling(table):
    both = manifest(NFC, NFD, "a.png", " a.png")
    rows = f"{NFD},1\n{NFC},0\n a.png,3\na.png,2\n"
    assert table(rows, both).classes.tolist() == [0, 1, 2, 3]
    assert "has a row for 'a.png '" in message(table, rows + "a.png ,2\n", of=both)


@pytest.mark.parametrize(
    ("names", "body"),
    [
        (("a,b.png", "c.png"), "a,b.png;0\nc.png;1"),
        (("a;b.png", "c.png"), "a;b.png,0\nc.png,1"),
        (("a;b.png", "c;d.png"), "a;b.png,0\nc;d.png,1"),
        (("a\tb.png", "c.png"), "a\tb.png,0\nc.png,1"),
        (("a,b.png", "c,d.png"), '"a,b.png",0\n"c,d.png",1'),
    ],
)
def test_names_may_hold_a_separator(table, names, body):
    assert table(body, manifest(*names)).classes.tolist() == [0, 1]


def test_a_file_called_file_is_a_row(table):
    assert (
        table("file,label\nb.png,2", manifest("file", "b.png"), words="label,7").classes[0] == 7
    )


@pytest.mark.parametrize("dash", ["-", " - ", '"-"'])
def test_no_class_is_a_label(table, dash):
    labels = table(f"a.png,{dash}\nb.png,4\n")
    assert labels.classes.tolist() == [-1, 4]
    assert labels.num_without == 1
    assert labels.digest == labels_digest([-1, 4])
    assert labels.unknown_words == ()


@pytest.mark.parametrize(
    ("body", "words", "classes", "unknown"),
    [
        ("a.png,cat\nb.png,dog", "cat,3\ndog,4\n", [3, 4], ()),
        ("a.png,cat\nb.png,dog", "word,class number\ncat,3\n", [3, -1], ("dog",)),
        ("a.png,cat\nb.png,5", "cat;3", [3, 5], ()),
        ("a.png,-\nb.png,dog", "dog\t0", [-1, 0], ()),
        (f"a.png,{NFD}\nb.png,{NFC}", f"{NFC},3", [3, 3], ()),
        ("a.png,golden retriever \nb.png,'s", "golden retriever,207\n's,1", [207, 1], ()),
        ("a.png,Cat\nb.png,cat", "cat,3\n", [-1, 3], ("Cat",)),
    ],
)
def test_words_become_class_numbers_by_a_map(table, body, words, classes, unknown):
    own = table(body, words=words)
    late = table(body, arbitrator_words=words)
    for labels in (own, late):
        assert labels.classes.tolist() == classes
        assert labels.unknown_words == unknown
    assert not own.needs_map
    # A map is committed to only by the owner who gave it; the arbitrator's is his own.
    assert own.digest != late.digest == table(body).digest


def test_words_without_a_map_wait_for_one(table):
    labels = table("a.png,cat\nb.png,3")
    assert labels.needs_map
    assert labels.classes.tolist() == [-1, 3]


def test_the_owners_map_goes_before_the_arbitrators(table):
    labels = table("a.png,cat\nb.png,dog", words="cat,1", arbitrator_words="cat,2\ndog,3")
    assert labels.classes.tolist() == [1, -1]


def test_rows_of_other_files_are_not_used_and_change_no_digest(table):
    """Such as photos that were passed over: a commitment is to the others."""
    body = "a.png,1\nb.png,2\n"
    with pytest.warns(UserWarning, match=r"has a row for 'c\.gif', .*\(2 such rows in all\)"):
        more = table(f"{body}c.gif,3\nd.txt,\n")
    assert more.classes.tolist() == [1, 2]
    assert more.digest == table(body).digest


def test_each_change_of_rows_or_map_changes_the_digest(table):
    bodies = ["a.png,cat\nb.png,dog", "a.png,dog\nb.png,cat", "a.png,cat\nb.png,-",
              "a.png,cat\nb.png,4", "a.png,3\nb.png,4", "a.png,3\nb.png,-"]  # fmt: skip
    maps = ["cat,3\ndog,4", "cat,3", "cat,4\ndog,4", None]
    digests = [
        table(body, words=words).digest
        for body in bodies
        for words in (maps if "cat" in body or "dog" in body else [None])
    ]
    assert len(set(digests)) == len(digests) == 18


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("a.pgn,1\nb.png,2\n", "to audit without labels; did you mean 'a.pgn'?"),
        ("A.PNG,1\nb.png,2\n", "gives 'a.png' no label (1 of 2 photos have none)"),
        ("a.png,1\na.png,2\nb.png,2\n", "gives 'a.png' two labels"),
        ("a.png,cat\na.png,dog\nb.png,2\n", "gives 'a.png' two labels"),
        ("a.png,1\n", "gives 'b.png' no label (1 of 2 photos have none): write '-' where"),
        ("", "must have rows 'file,label', such as 'photo.png,3', separated by commas"),
        ("a.png\nb.png", "must have rows 'file,label'"),
        ("a.png,1,x\nb.png,2,y", "must have rows 'file,label'"),
        ("a.png,1\nb.png;2", "in all rows alike; got 'b.png;2'"),
        ('a.png,"1\nb.png,2', "must have rows 'file,label'"),
        ("a.png,\nb.png,2", "gives 'a.png' the label ''"),
        ("a.png,-3\nb.png,2", "gives 'a.png' the label '-3', but a label is a class number"),
        ("a.png,1.5\nb.png,2", "the label '1.5'"),
        ('a.png,"1,5"\nb.png,2', "the label '1,5'"),
        ("a.png,1e3\nb.png,2", "the label '1e3'"),
        ("a.png,nan\nb.png,2", "the label 'nan'"),
        ("a.png,1234567890\nb.png,2", "the label '1234567890'"),
        ("a.png,٣\nb.png,2", "the label '٣'"),
        ("a.png,—\nb.png,2", "the label '—'"),
        ("caf\xe9.png,1\n".encode("latin-1"), "is not UTF-8 text (byte 3): save it as CSV"),
        ("a.png,1\nb.png,2".encode("utf-16-le"), "is not UTF-8 text (it contains NUL)"),
        ("a.png,1\nb.png,2".encode("utf-32"), "is not UTF-8 text (it contains NUL)"),
        (b"\xff\xfea", "is not UTF-8 text"),
        (b"PK\x03\x04\x14\x00", "is not UTF-8 text (it contains NUL)"),
    ],
)
def test_what_is_refused(table, body, said):
    assert said in message(table, body)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("cat,3\ncat,4", "gives 'cat' two class numbers"),
        (
            "cat,three",
            "must have rows 'word,class number', such as 'cat,3', got 'cat' and 'three'",
        ),
        ("3,cat", "got '3' and 'cat'"),
        ("-,3", "got '-' and '3'"),
        ("cat", "must have rows 'word,class number'"),
        ("", "must have rows 'word,class number'"),
        ("word,class number\n", "holds no row 'word,class number'"),
    ],
)
def test_maps_that_are_refused(table, words, said):
    assert said in message(table, "a.png,cat\nb.png,dog", words=words)


def test_a_map_without_words_is_refused(table):
    assert "holds none: leave it out" in message(table, "a.png,1\nb.png,2", words="cat,3")


def test_a_table_that_never_ends_is_refused(tmp_path):
    for path in ("/dev/zero", tmp_path):
        with pytest.raises(CaseError, match="must be a file, but is a"):
            audit.read_labels(path, TWO)
    with pytest.raises(CaseError, match="is not there"):
        audit.read_labels(tmp_path / "none", TWO)
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(2**25 + 1)
    with pytest.raises(CaseError, match="has more than 33,554,432 bytes"):
        audit.read_labels(tmp_path / "large.csv", TWO)


def test_the_arbitrators_own_labels(tmp_path):
    assert audit.arbitrator_labels(tmp_path, "ann", TWO) is None
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels" / "ann.csv"
    path.write_text("a.png;1\nb.png;-\n")
    first = audit.arbitrator_labels(tmp_path, "ann", TWO)
    assert first.classes.tolist() == [1, -1]
    path.write_text("a.png,cat\nb.png,dog\n")
    with pytest.raises(CaseError, match=r"holds words \('cat'\), which need .*labels_map.csv"):
        audit.arbitrator_labels(tmp_path, "ann", TWO)
    (tmp_path / "labels_map.csv").write_text("cat,5\n")
    second = audit.arbitrator_labels(tmp_path, "ann", TWO)
    assert second.classes.tolist() == [5, -1]
    (tmp_path / "labels_map.csv").write_text("cat,6\n")
    third = audit.arbitrator_labels(tmp_path, "ann", TWO)
    assert third.classes.tolist() == [6, -1]
    assert audit.arbitrator_labels(tmp_path, "bob", TWO) is None


@pytest.mark.parametrize("name", ["Ann.csv", "ann.CSV", "ann.txt", "labels_map.csv", "ann"])
def test_a_table_of_nobody_is_refused(tmp_path, name):
    (tmp_path / "labels").mkdir()
    for allowed in ("ann.csv", "._ann.csv", ".DS_Store", "__MACOSX"):
        (tmp_path / "labels" / allowed).write_text("")
    check_label_files(tmp_path, ["ann", "bob.b"])
    (tmp_path / "labels" / name).write_text("")
    with pytest.raises(CaseError, match=f"{name} belongs to no owner of the case"):
        check_label_files(tmp_path, ["ann", "bob.b"])
