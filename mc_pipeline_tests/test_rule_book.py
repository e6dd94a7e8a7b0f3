"""The rule book ships: every rule, invariant, file and name that is cited can be looked up."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mc_pipeline"
DOCS = ROOT / "docs"
THIS = Path(__file__).resolve()

_RULE_HEADING = re.compile(r"^### (\d+\.\d+) ", re.MULTILINE)
_SECTION_HEADING = re.compile(r"^## (\d+)\. ", re.MULTILINE)
_INVARIANT = re.compile(r"^(\d+)\. \*\*", re.MULTILINE)

_NUMBER = r"\d+(?:\.\d+)?"
_NEXT_NUMBER = rf"(?:(?:,| and|,? or|–| to)\s+|–){_NUMBER}(?![\w.]*\d|%|\s*%)"
# "rule 4.4", "rules 5.3 and 5.5", "rules 7.1–7.3", "RULES 9", also where a line ends in between.
_RULE = re.compile(rf"\b(?:[Rr]ules?|RULES)\s+({_NUMBER}(?:{_NEXT_NUMBER})*)(?!\w)")
_RULE_IN_A_NAME = re.compile(r"def test_(\d+)_(\d+)_")
_CITED_INVARIANT = re.compile(r"\b[Ii]nvariants?\s+(\d+)")
_DOCUMENT = re.compile(r"\bdocs/[\w./-]+\.(?:md|png)|(?<![\w/.])(?:facts|adr)/[\w.-]+\.md")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PLACE = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:py|yaml|md)|(?:[\w.-]+/)+")


def _rules() -> set[str]:
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    return {*_RULE_HEADING.findall(text), *_SECTION_HEADING.findall(text)}


def _invariants() -> set[str]:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    return set(_INVARIANT.findall(text[text.index("## 2. Invariants") : text.index("## 3. ")]))


def _texts() -> Iterator[tuple[Path, str]]:
    folders = (PACKAGE, ROOT / "mc_pipeline_tests", ROOT / "benchmarks", DOCS)
    files = [path for folder in folders for ending in ("*.py", "*.md") for path in folder.rglob(ending)]
    for path in sorted([*files, *ROOT.glob("*.md"), *ROOT.glob("*.yaml"), ROOT / "Makefile"]):
        if path != THIS:
            yield path, path.read_text(encoding="utf-8")


def cited_rules(text: str) -> list[tuple[int, str]]:
    """Every rule or section that a text cites, with the position of the citation."""
    found = [
        (match.start(), number) for match in _RULE.finditer(text) for number in re.findall(_NUMBER, match[1])
    ]
    return found + [(match.start(), f"{match[1]}.{match[2]}") for match in _RULE_IN_A_NAME.finditer(text)]


def _where(path: Path, text: str, position: int) -> str:
    return f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, position) + 1}"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("at once (rule 4.4).", ["4.4"]),
        ("(rules 5.3 and 5.5)", ["5.3", "5.5"]),
        ("(rules 5.4, 5.5, 5.6 and 6.3).", ["5.4", "5.5", "5.6", "6.3"]),
        ("(RULES 7.1–7.3)", ["7.1", "7.3"]),
        ("rules 5.3 to 5.6", ["5.3", "5.6"]),
        ("(RULES 9).", ["9"]),
        ("(rules 4 and 6.4)", ["4", "6.4"]),
        ("by the\nrule\n10.1", ["10.1"]),
        ("Rule 6.6: whose fault", ["6.6"]),
        ("def test_3_2_the_first_rule_wins", ["3.2"]),
        ("the rule that 90 % of the rows", []),
        ("for each rule, 3 rows", []),
    ],
)
def test_citations_are_found(text: str, numbers: list[str]) -> None:
    assert [number for _, number in cited_rules(text)] == numbers


def test_the_rule_book_has_its_sections_and_no_number_twice() -> None:
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    numbers = _RULE_HEADING.findall(text)
    assert len(numbers) == len(set(numbers))
    assert _SECTION_HEADING.findall(text) == [str(number) for number in range(1, 11)]
    for section in _SECTION_HEADING.findall(text):
        rules = [number for number in numbers if number.split(".")[0] == section]
        assert rules, f"section {section} has no rule"
        assert rules == [f"{section}.{number}" for number in range(1, len(rules) + 1)]


def test_every_cited_rule_is_in_the_rule_book() -> None:
    rules = _rules()
    cited = [
        (_where(path, text, position), number)
        for path, text in _texts()
        for position, number in cited_rules(text)
    ]
    assert len(cited) > 100, "citations are not found any more"
    assert [f"{where}: {number}" for where, number in cited if number not in rules] == []


def test_every_cited_invariant_is_in_the_design() -> None:
    invariants = _invariants()
    assert invariants == {str(number) for number in range(1, 11)}
    cited = [
        (_where(path, text, match.start()), match[1])
        for path, text in _texts()
        for match in _CITED_INVARIANT.finditer(text)
    ]
    assert cited
    assert [f"{where}: {number}" for where, number in cited if number not in invariants] == []


def test_every_document_that_is_named_is_there() -> None:
    missing = []
    named = 0
    for path, text in _texts():
        for match in _DOCUMENT.finditer(text):
            # In a document, facts/… may be a link beside it; in code it is a path from the root.
            named += 1
            places = [ROOT / match[0]]
            if path.is_relative_to(DOCS):
                places += [path.parent / match[0], DOCS / match[0]]
            if not any(place.is_file() for place in places):
                missing.append(f"{_where(path, text, match.start())}: {match[0]}")
    assert named > 10
    assert missing == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = []
    for path in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "mc_pipeline_tests" / "data" / "README.md"]:
        text = path.read_text(encoding="utf-8")
        for match in _LINK.finditer(text):
            target = match[1].partition("#")[0]
            if not target or "://" in target:
                continue
            if not (path.parent / target).exists():
                broken.append(f"{_where(path, text, match.start())}: {match[1]}")
    assert broken == []


def test_every_place_that_the_design_names_is_there() -> None:
    missing = []
    named = 0
    for path in (DOCS / "design.md", DOCS / "rules.md", *(DOCS / "adr").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for match in _CODE.finditer(text):
            if not _PLACE.fullmatch(match[1]) or match[1] == "companies.yaml":
                continue
            named += 1
            if not any((folder / match[1]).exists() for folder in (ROOT, PACKAGE, DOCS)):
                missing.append(f"{_where(path, text, match.start())}: {match[1]}")
    assert named > 60
    assert missing == []


def _decisions() -> list[tuple[str, str, list[str]]]:
    """Rows of "Where is it decided that …": question, file below the package, names in it."""
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    section = text[text.index("## 7. Where is it decided that") : text.index("## 8. ")]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "`" in line
    ]
    return [(question, _CODE.findall(file)[0], _CODE.findall(names)) for question, file, names in rows]


@pytest.mark.parametrize(("question", "file", "names"), _decisions(), ids=lambda value: str(value)[:60])
def test_what_decides_is_where_the_design_says(question: str, file: str, names: list[str]) -> None:
    assert question.endswith("?")
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    defined = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    assert names
    assert set(names) <= defined


def test_the_design_names_every_asset() -> None:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    graph = text[text.index("## 4. The asset graph") : text.index("## 5. ")]
    snapshot = (ROOT / "mc_pipeline_tests" / "definitions.yaml").read_text(encoding="utf-8")
    assets = set(re.findall(r"^(\w+):$", snapshot, re.MULTILINE))
    assert set(re.findall(r"^\| \w+ \| `(\w+)` \|", graph, re.MULTILINE)) == assets


def test_the_readme_leads_to_the_documents() -> None:
    links = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"docs/rules.md", "docs/design.md", "docs/glossary.md"} <= links
