"""The version is written in one place, and shown wherever somebody asks which one runs."""

import re
import tomllib
from pathlib import Path

import setuptools
from click.testing import CliRunner

import mc_pipeline
from mc_pipeline import __version__
from mc_pipeline.cli.main import commands
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline_tests.mailchimp.exact_server import answer, exact_server
from mc_pipeline_tests.odoo.byte_server import COMPANIES, KEY_ACCEPTED, LOGGED_IN, WEB_VERSION, result, serve
from mc_pipeline_tests.odoo.connection import connected

ROOT = Path(__file__).resolve().parents[1]
NAMED = f"mc-pipeline/{__version__}"


def test_the_package_that_is_built_has_this_version_and_says_that_it_is_typed(monkeypatch):
    monkeypatch.chdir(ROOT)
    built = setuptools.Distribution()
    built.parse_config_files()
    assert built.metadata.version == __version__
    assert "py.typed" in built.package_data["mc_pipeline"]
    assert Path(mc_pipeline.__file__).with_name("py.typed").is_file()


def test_no_second_place_says_a_version():
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    places = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mc_pipeline").rglob("*.py")
        if re.search(rf"\b{re.escape(__version__)}\b", path.read_text(encoding="utf-8"))
    ]
    assert places == ["mc_pipeline/__init__.py"]


def test_the_command_shows_it():
    shown = CliRunner().invoke(commands, ["--version"])
    assert shown.exit_code == 0
    assert shown.output == f"mc-pipeline, version {__version__}\n"


def test_the_change_log_tells_what_it_brought():
    versions = re.findall(
        r"^## \[?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert versions[0] == __version__


def test_mailchimp_is_told_who_asks():
    with (
        exact_server(answer(200, {"health_status": "Everything's Chimpy!"})) as server,
        MailchimpClient("main", "0123456789abcdef0123456789abcdef-us1", base_url=server.url) as client,
    ):
        client.ping.get()
    assert {asked.headers["User-Agent"] for asked in server.asked} == {
        f"{NAMED} (mailchimp-marketing 3.0.80)"
    }


def test_odoo_is_told_who_asks_over_both_apis():
    with serve(*LOGGED_IN, result(3)) as server, connected(server.url) as client:
        client.search_count("res.partner", [])
    with serve(WEB_VERSION, *KEY_ACCEPTED, COMPANIES) as json2, connected(json2.url, api="json2"):
        pass
    asked = [*server.requests, *json2.requests]
    assert len(asked) > len(LOGGED_IN)
    assert {headers["user-agent"] for _, headers, _ in asked} == {NAMED}
