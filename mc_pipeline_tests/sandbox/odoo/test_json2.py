"""The stand-in's JSON-2 beside the contract: databases, rights, keys, trouble, journal, older versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.sandbox.odoo.conftest import Switchboard, error_of, log_in

Ask = Callable[..., requests.Response]


def asking(odoo: SandboxOdoo, key: str, database: str | None = "sandbox") -> Ask:
    """Calls a method of a model with a key."""
    headers: dict[str, str | None] = {"Authorization": f"Bearer {key}", "X-Odoo-Database": database}

    def ask(call: str, **named: Any) -> requests.Response:
        model, _, method = call.rpartition(".")
        url = f"{odoo.url}/json/2/{model}/{method}"
        return requests.post(url, json=named, headers=headers, allow_redirects=False, timeout=10)

    return ask


@pytest.fixture
def ask(odoo19: SandboxOdoo) -> Ask:
    (administrator,) = odoo19.search("res.users", [("login", "=", "admin")])
    return asking(odoo19, odoo19.add_api_key(administrator))


@pytest.mark.parametrize("major", [17, 18])
def test_older_versions_have_no_json2(major: int, odoo: SandboxOdoo) -> None:
    answer = asking(odoo, "0" * 40)("res.partner.search", domain=[])
    if major == 17:
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    else:
        login = "/web/login?redirect=%2Fjson%2F2%2Fres.partner%2Fsearch%3F"
        assert (answer.status_code, answer.headers["Location"]) == (303, login)
    version = requests.get(f"{odoo.url}/web/version", timeout=10)
    assert version.status_code == 404


def test_the_header_names_the_database_and_is_needed_where_there_are_several(
    switchboard: tuple[Switchboard, str],
) -> None:
    odoo = SandboxOdoo((19, 0), databases=("first", "second"))
    board, odoo.url = switchboard
    board.app = odoo.app
    (administrator,) = odoo.search("res.users", [("login", "=", "admin")])
    key = odoo.add_api_key(administrator, database="second")
    assert asking(odoo, key, "second")("res.company.search_count", domain=[]).json() == 1
    assert asking(odoo, key, "first")("res.company.search_count", domain=[]).status_code == 401
    for named in ("third", None):
        answer = asking(odoo, key, named)("res.company.search_count", domain=[])
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "No database is selected" in answer.text


def test_rights_and_rules_hold(odoo19: SandboxOdoo) -> None:
    uid = odoo19.add_user("bot", "secret")
    ask = asking(odoo19, odoo19.add_api_key(uid))
    refused = ask("sale.order.search", domain=[])
    assert (refused.status_code, refused.json()["name"]) == (403, "odoo.exceptions.AccessError")
    hidden = odoo19.add_partner(name="A", ref="t")
    odoo19.hide("res.partner", [hidden], uid=uid)
    assert ask("res.partner.search", domain=[["ref", "=", "t"]]).json() == []
    assert ask("res.partner.read", ids=[hidden], fields=["name"]).status_code == 403


def test_a_call_that_fails_leaves_nothing_behind(odoo19: SandboxOdoo, ask: Ask) -> None:
    before = odoo19.search("res.partner", order="id")
    assert ask("res.partner.create", vals_list=[{"name": "A"}, {"name": "B", "nope": 1}]).status_code == 500
    assert odoo19.search("res.partner", order="id") == before


def test_a_key_ends_at_once_over_json2_and_lives_on_in_warm_workers_over_json_rpc(
    odoo19: SandboxOdoo,
) -> None:
    uid = odoo19.add_user("bot", "secret", groups=("sales_all",))
    key = odoo19.add_api_key(uid, expires=datetime.now(UTC) + timedelta(days=1))
    ask, warm = asking(odoo19, key), log_in(odoo19, "bot", key)
    for _ in range(2):
        assert ask("res.partner.search_count", domain=[]).status_code == 200
        assert warm.execute_kw("res.partner", "search_count", [[]]) > 0
    odoo19.expire_api_key(uid, key)
    ended = ask("res.partner.search_count", domain=[])
    assert (ended.status_code, ended.json()["message"]) == (401, "Invalid apikey")
    assert warm.execute_kw("res.partner", "search_count", [[]]) > 0
    odoo19.restart_workers()
    assert error_of(lambda: warm.execute_kw("res.partner", "search_count", [[]]))[0] == (
        "odoo.exceptions.AccessDenied"
    )


def test_the_key_of_an_archived_user_is_none(odoo19: SandboxOdoo) -> None:
    uid = odoo19.add_user("bot", "secret")
    ask = asking(odoo19, odoo19.add_api_key(uid))
    assert ask("res.users.context_get").json()["uid"] == uid
    odoo19.write("res.users", uid, {"active": False})
    assert ask("res.users.context_get").status_code == 401


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [("json_500", 500, "builtins.ZeroDivisionError"), ("html_502", 502, None), ("html_403", 403, None)],
)
def test_trouble_has_the_form_of_json2(
    odoo19: SandboxOdoo, ask: Ask, kind: Any, status: int, name: Any
) -> None:
    odoo19.faults.add(Fault(kind, match_path_regex="/json/2/res.partner/search$"))
    answer = ask("res.partner.search", domain=[])
    assert answer.status_code == status
    assert (answer.json()["name"] if name else None) == name
    assert ask("res.partner.search", domain=[]).status_code == 200


def test_trouble_strikes_each_api_once(odoo19: SandboxOdoo, ask: Ask) -> None:
    odoo19.faults.add(Fault("html_502", times=2))
    assert ask("res.partner.search", domain=[]).status_code == 502
    posted = requests.post(f"{odoo19.url}/jsonrpc", json={}, timeout=10)
    assert posted.status_code == 502
    assert ask("res.partner.search", domain=[]).status_code == 200


def test_the_journal_says_who_called_what_and_never_the_key(odoo19: SandboxOdoo, ask: Ask) -> None:
    odoo19.journal.clear()
    ask("res.partner.create", vals_list=[{"name": "A"}])
    (entry,) = odoo19.journal.requests
    assert (entry.method, entry.path) == ("POST", "/json/2/res.partner/create")
    assert (entry.action, entry.account, entry.status) == ("res.partner.create", "admin", 200)
    (key,) = odoo19.database.accounts[odoo19.search("res.users", [("login", "=", "admin")])[0]].api_keys
    assert key not in repr(entry)


def test_trouble_of_the_database_is_worded_as_odoo_does(odoo19: SandboxOdoo, ask: Ask) -> None:
    odoo19.faults.add(Fault("serialization_failure"))
    answer = ask("res.company.search_count", domain=[])
    assert (answer.status_code, answer.json()["name"]) == (500, "psycopg2.errors.SerializationFailure")
    odoo19.faults.add(Fault("database_gone"))
    answer = ask("res.company.search_count", domain=[])
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "No database is selected" in answer.text
