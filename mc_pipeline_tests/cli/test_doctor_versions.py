"""What the doctor says of Odoo's version, of its keys and of the limits on calls."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_pipeline.doctor.findings import Status
from mc_pipeline.doctor.odoo_checks import check_api_key, check_connection
from mc_pipeline.doctor.systems import CheckupSystems
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.settings import load_settings

SETTINGS = """
odoo: {{url: "{url}", database: sandbox, user: admin, secret: "${{ODOO_SECRET}}"{more}}}
mailchimp: {{main: {{api_key: "${{MAILCHIMP_API_KEY}}"}}}}
companies:
  acme:
    odoo_company_id: 1
    mailchimp: main
    timezone: UTC
    audiences: {{people: {{list_id: people1, when: {{}}}}}}
"""
Make = Callable[..., CheckupSystems]


@pytest.fixture
def systems(tmp_path: Path) -> Make:
    def make(url: str, more: str = "", secret: str = "admin") -> CheckupSystems:
        path = tmp_path / "companies.yaml"
        path.write_text(SETTINGS.format(url=url, more=more))
        key = "0123456789abcdef0123456789abcdef-us1"
        return CheckupSystems(load_settings(path, {"ODOO_SECRET": secret, "MAILCHIMP_API_KEY": key}))

    return make


@pytest.mark.parametrize(
    ("version", "name", "tested"),
    [
        ((18, 0), "18.0", True),
        ((19, 0), "19.0", True),
        ((19, 4), "saas~19.4", False),
        ((20, 0), "20.0", False),
    ],
)
def test_a_version_that_was_only_read_about_is_named_and_said_so(systems, version, name, tested):
    with SandboxOdoo(version).serve() as odoo:
        (result,) = check_connection(systems(odoo.url))
    assert f"Odoo {name} at {odoo.url}" in result.found
    assert result.status is (Status.OK if tested else Status.WARNING)
    said = f"{name}: built from its source, not yet run against a server."
    assert result.fix.startswith(said) is not tested


def test_limits_on_calls_are_reported(systems):
    with SandboxOdoo((19, 0)).serve() as odoo:
        _, limits = check_connection(systems(odoo.url, ", connections: 1, calls_per_second: 500"))
    assert limits.found == (
        "calls of one process: at most 1 at a time (odoo.connections) and 500 a second "
        "(odoo.calls_per_second)"
    )


def test_the_advice_for_a_new_key_is_that_of_the_version(systems):
    with SandboxOdoo((20, 0)).serve() as odoo:
        (administrator,) = odoo.search("res.users", [("login", "=", "admin")])
        key = odoo.add_api_key(administrator, expires=datetime.now(UTC) + timedelta(days=3))
        (result,) = check_api_key(systems(odoo.url, secret=key))
    assert result.status is Status.WARNING
    assert "scope RPC" in result.fix
    assert result.fix.endswith("after that day every sync fails.")
