"""Pages agree with one another: links and their anchors lead somewhere, diagrams are closed."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = (".", "docs", "benchmarks", "examples", "results")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings of a page, and those written as HTML."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#{1,6} +(.+?) *$", text, re.M)
    made = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return {*made, *re.findall(r'<a id="([^"]+)">', text)}


def broken(page: pathlib.Path, text: str) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(without_code(text)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    assert broken(page, page.read_text()) == []


def test_a_broken_link_is_found():
    page = ROOT / "docs" / "faq.md"
    text = "[a](faq.md) [b](no.md) [c](faq.md#no) [d](#questions-and-answers) `[e](x)`"
    assert broken(page, text) == ["no.md", "faq.md#no"]


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in LINK.findall(without_code(page.read_text())):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists():
                waiting.append(target)
    assert [page for page in sorted((ROOT / "docs").glob("*.md")) if page not in seen] == []


LINES = "|".join(
    (
        r"sequenceDiagram|autonumber|end",
        r"(participant|actor) \w+ as [^;#]+",
        r"Note over \w+(,\w+)?: [^;#]+",
        r"loop [^;#]+",
        r"\w+-?->>\w+: [^;#]+",
    )
)


@pytest.mark.parametrize("page", ["protocol"])
def test_diagrams_use_the_plain_part_of_mermaid(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    diagrams = re.findall(r"^```mermaid\n(.*?)^```", text, re.M | re.S)
    assert len(diagrams) == 2
    for diagram in diagrams:
        lines = [line.strip() for line in diagram.splitlines()]
        assert [line for line in lines if not re.fullmatch(LINES, line)] == []
        assert lines.count("end") == sum(line.startswith("loop ") for line in lines)
        named = {line.split()[1] for line in lines if line.startswith(("participant", "actor"))}
        used = {name for line in lines for name in re.findall(r"^(\w+)-?->>(\w+):", line)}
        assert {name for pair in used for name in pair} <= named
