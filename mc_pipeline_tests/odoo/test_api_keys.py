"""The user's API keys: whose, and until when."""

from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.odoo.api_keys import ApiKey, new_key_advice, read_api_keys
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in


def in_days(days: int) -> datetime:
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


@pytest.mark.parametrize("major", [18, 19])
def test_the_key_that_ends_first_comes_first_and_ended_ones_not_at_all(major):
    with SandboxOdoo((major, 0)).serve() as odoo:
        uid = odoo.add_user("bot", "secret")
        somebody = odoo.add_user("somebody", "secret")
        soon, late = in_days(9), in_days(90)
        odoo.add_api_key(uid, name="for ever")
        odoo.add_api_key(uid, name="late", expires=late)
        key = odoo.add_api_key(uid, name="soon", expires=soon)
        odoo.add_api_key(uid, name="ended", expires=in_days(-1))
        odoo.add_api_key(somebody, name="somebody's", expires=soon)
        with logged_in(odoo, "bot", key) as client:
            keys = read_api_keys(client)
    assert keys == [ApiKey("soon", soon), ApiKey("late", late), ApiKey("for ever", None)]


def test_from_20_on_only_keys_of_the_scope_rpc_are_keys():
    soon = in_days(9)
    with SandboxOdoo((19, 0)).serve() as odoo:
        uid = odoo.add_user("bot", "secret")
        for name, scope in (("old", None), ("scoped", "rpc"), ("other", "mail")):
            odoo.add_api_key(uid, name=name, scope=scope, expires=soon)
        with logged_in(odoo, "bot", "secret") as client:
            assert {key.name for key in read_api_keys(client)} == {"old", "scoped"}
        odoo.upgrade((20, 0))
        with logged_in(odoo, "bot", "secret") as client:
            assert read_api_keys(client) == [ApiKey("scoped", soon)]


@pytest.mark.parametrize(("version", "names_roles"), [((19, 0), False), ((19, 4), False), ((20, 0), True)])
def test_how_to_make_a_key_is_reported_by_version(version, names_roles):
    advice = new_key_advice(version)
    assert "Add API Key" in advice
    assert ("Regular User 90 days" in advice and "scope RPC" in advice) is names_roles


def test_an_administrator_is_told_its_own_keys_only():
    with SandboxOdoo((19, 0)).serve() as odoo:
        odoo.add_api_key(odoo.add_user("somebody", "secret"), name="somebody's")
        with logged_in(odoo) as client:
            assert read_api_keys(client) == []


def test_keys_of_odoo_17_have_no_end():
    with SandboxOdoo((17, 0)).serve() as odoo:
        uid = odoo.add_user("bot", "secret")
        key = odoo.add_api_key(uid, name="old")
        with logged_in(odoo, "bot", key) as client:
            assert read_api_keys(client) == [ApiKey("old", None)]
