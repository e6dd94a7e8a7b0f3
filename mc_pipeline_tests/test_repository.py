"""What the repository promises to whoever clones it."""

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")

_PINNED = re.compile(r"(?P<name>[a-z0-9.-]+)(\[[a-z,]+\])?==(?P<version>\S+)( ; (?P<marker>[^\\]+?))? \\")
_HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?")
# A folder at the root of a machine that people and build systems keep their work in, not preceded by what
# makes it a part of a web address or a relative path.
_MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:root|home/\w+|work|Users/\w+)(?![\w-])")


def _locked(name: str) -> set[tuple[str, str, str]]:
    pins = (_PINNED.fullmatch(line) for line in (ROOT / name).read_text().splitlines())
    return {(pin["name"], pin["version"], pin["marker"] or "") for pin in pins if pin}


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    if listing.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_versions_and_hashes_and_no_address(name: str) -> None:
    strange = [
        line
        for line in (ROOT / name).read_text().splitlines()
        if not _PINNED.fullmatch(line) and not _HASH.fullmatch(line)
    ]
    assert strange == []
    assert len(_locked(name)) > 50


def test_what_runs_is_what_is_tested() -> None:
    runtime, development = ({pin[:2] for pin in _locked(name)} for name in LOCKS)
    assert runtime < development


def test_the_locks_hold_what_the_project_asks_for_and_what_builds_it() -> None:
    project = _project()
    development = project["project"]["optional-dependencies"]["dev"]
    for lock, asked in (
        ("requirements.lock", [*project["project"]["dependencies"], *project["build-system"]["requires"]]),
        ("requirements-dev.lock", development),
    ):
        versions: dict[str, list[str]] = {}
        for name, version, _ in _locked(lock):
            versions.setdefault(name, []).append(version)
        for requirement in map(Requirement, asked):
            chosen = versions.get(requirement.name.lower())
            assert chosen, f"{lock} lacks {requirement.name}: run make lock"
            assert all(requirement.specifier.contains(version) for version in chosen), (
                f"{requirement}: make lock"
            )


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("\ndependencies = [") : text.index("]\n\n[project.optional-dependencies]")]
    lines = [line for line in block.splitlines() if line.startswith("  ")]
    assert len(lines) == len(_project()["project"]["dependencies"])
    assert [line for line in lines if not re.search(r"# \w", line)] == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    found = []
    for path in _tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an archive
        found.extend(
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if _MACHINE_PATH.search(line)
        )
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("open('" + "/ro" + "ot/checkout')", True),
        ("cd /ho" + "me/anna/mc_pipeline", True),
        ("FOLDER=/wo" + "rk/main", True),
        ("https://example.com/wo" + "rk/main", False),
        ("../wo" + "rk", False),
        ("/wo" + "rkspace.yaml", False),
    ],
)
def test_a_folder_of_one_machine_is_recognised(line: str, is_one: bool) -> None:
    assert bool(_MACHINE_PATH.search(line)) is is_one


def test_the_top_level_holds_what_is_needed_there_and_nothing_else() -> None:
    folders = {".ci", ".github", "benchmarks", "docs", "mc_pipeline", "mc_pipeline_tests"}
    read_by_people = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"}
    read_by_tools = {"Makefile", "pyproject.toml", *LOCKS, ".gitignore", ".pre-commit-config.yaml"}
    read_by_the_program = {".env.example", "dagster.yaml", "workspace.yaml"}
    found = {path.relative_to(ROOT).parts[0] for path in _tracked_files()}
    assert found == folders | read_by_people | read_by_tools | read_by_the_program


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_what_the_pages_for_contributors_name_is_there(name: str) -> None:
    assert f"]({name})" in (ROOT / "README.md").read_text(), "README leads to it"
    text = (ROOT / name).read_text()
    linked = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    assert [path for path in linked if not (ROOT / path).exists()] == []
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= _make_targets()
    named = set(re.findall(r"`([\w./*-]+(?:\.(?:py|md|yaml)|/))`", text)) - {
        "0042_subject.py",
        "companies.yaml",
    }
    files = [path.relative_to(ROOT) for path in _tracked_files()]
    there = {f"/{path}" for path in files} | {f"/{folder}/" for path in files for folder in path.parents}
    assert [path for path in named if not fnmatch.filter(there, f"*/{path}")] == []


def test_every_folder_of_tests_is_explained_to_contributors() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tests = ROOT / "mc_pipeline_tests"
    folders = {path.name for path in tests.iterdir() if any(path.glob("**/test_*.py"))}
    assert {name for name in folders if f"`{name}/`" not in text} == set()
    assert {path.name for path in tests.glob("test_*.py") if f"`{path.name}`" not in text} == set()


def test_the_hooks_run_what_lint_runs_without_a_download() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    tools = {" ".join(hook["entry"].removeprefix(".venv/bin/").split()[:2]) for hook in repository["hooks"]}
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lint
    asked = {" ".join(line.removeprefix("\t$(BIN)/").split()[:2]) for line in lint[1].splitlines()}
    assert tools == asked


def test_make_has_the_commands_that_the_readme_names() -> None:
    assert {"help", "demo", "check", "test", "test-long", "dev", "lint"} <= _make_targets()
    named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named, "the README names the two commands"
    assert named <= _make_targets()


def test_ci_runs_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    made = re.findall(r"^make ([a-z-]+)", script.read_text(), re.MULTILINE)
    assert {"lint", "demo", "test-random"} <= set(made)
    assert made[-2:] == ["test", "test-long"], "their closing lines say how it went"
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", script], timeout=30).returncode == 0


def test_the_example_environment_names_every_variable_of_ours() -> None:
    used = {
        name
        for path in (ROOT / "mc_pipeline").rglob("*.py")
        for name in re.findall(r"""["'](MC_PIPELINE_[A-Z_]+|DAGSTER_POSTGRES_URL)["']""", path.read_text())
    }
    assert {"MC_PIPELINE_CONFIG", "DAGSTER_POSTGRES_URL"} <= used
    shown = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used <= shown


def test_the_example_environment_holds_no_secret() -> None:
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert {name for name, value in values.items() if value} == {"MC_PIPELINE_CONFIG"}
