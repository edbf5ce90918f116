"""The lines of docs/adapters.md that ask a model from Python run as they stand there."""

import pathlib
import re

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "adapters.md"


def test_the_lines_run_and_run_again_from_the_answers(tmp_path, monkeypatch, capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    exec(compile(lines, PAGE.name, "exec"), names)
    assert capsys.readouterr().out == names["verdict"].text + "\n"
    assert names["verdict"].result.outcome == "shown"
    assert names["verdict"].standing.startswith("holds only if the owner chose")
    size = (tmp_path / "answers.bin").stat().st_size
    with names["suspects"].AnswerCache("answers.bin", names["suspect"].declaration) as cache:
        table = names["suspects"].ask(
            *(names[name] for name in ("suspect", "photos", "labels", "mark", "space")),
            cache=cache,
            **names["options"],
        )
    assert (table == names["table"]).all()
    assert (tmp_path / "answers.bin").stat().st_size == size  # nothing was asked again
