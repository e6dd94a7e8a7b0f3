"""Errors are named as in Odoo, so that a client which branches on ``error.data.name`` can be tried."""

from __future__ import annotations

import urllib.error
from typing import Any
from urllib.parse import urlsplit

import odoorpc
import pytest
import requests

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.sandbox.odoo.conftest import error_of, log_in


@pytest.mark.parametrize(
    ("model", "method", "args", "kwargs", "name"),
    [
        ("res.partner", "search", [[["category_id.nope", "=", 1]]], {}, "builtins.ValueError"),
        ("res.partner", "search", [["&"]], {}, "builtins.ValueError"),
        ("res.partner", "search", [[["email"]]], {}, "builtins.ValueError"),
        ("res.partner", "search", [[["write_date", ">", "yesterday"]]], {}, "builtins.ValueError"),
        ("res.partner", "search", [[]], {"order": "is_blacklisted"}, "builtins.ValueError"),
        ("res.partner", "search", [[]], {"order": "name sideways"}, "builtins.ValueError"),
        ("res.partner", "create", [{"nope": 1}], {}, "builtins.ValueError"),
        ("res.partner", "create", [{"name": "A", "type": "castle"}], {}, "builtins.ValueError"),
        ("res.partner", "create", [{"name": "A", "country_id": 9999}], {}, "odoo.exceptions.MissingError"),
        ("res.partner", "unlink", [[9999]], {}, "odoo.exceptions.MissingError"),
        ("res.partner.category", "create", [{"color": 1}], {}, "odoo.exceptions.ValidationError"),
        ("mail.blacklist", "create", [{}], {}, "builtins.KeyError"),
        ("mail.blacklist", "create", [{"email": "a@e.com, b@e.com"}], {}, "odoo.exceptions.UserError"),
        ("mail.blacklist", "_remove", ["a@e.com"], {}, "odoo.exceptions.AccessError"),
        ("mail.blacklist", "mail_action_blacklist_add", [[1]], {}, "builtins.AttributeError"),
        ("hr.employee", "search", [[]], {}, "odoo.exceptions.UserError"),
    ],
)
def test_errors_have_the_names_that_odoo_gives_them(
    admin: odoorpc.ODOO, model: str, method: str, args: list[Any], kwargs: dict[str, Any], name: str
) -> None:
    assert error_of(lambda: admin.execute_kw(model, method, args, kwargs))[0] == name


def test_a_failed_call_leaves_nothing_behind(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    before = odoo.search("res.partner", order="id")
    error_of(lambda: admin.execute_kw("res.partner", "create", [[{"name": "A"}, {"name": "B", "nope": 1}]]))
    partner = odoo.add_partner(name="A", email="a@e.com")
    values = {"name": "B", "child_ids": [[0, 0, {"name": "C"}], [0, 0, {"name": "D", "type": "castle"}]]}
    error_of(lambda: admin.execute_kw("res.partner", "write", [[partner], values]))
    assert odoo.search("res.partner", order="id") == [*before, partner]
    assert odoo.read("res.partner", partner, "name", "child_ids") == {
        "id": partner,
        "name": "A",
        "child_ids": [],
    }
    assert odoo.search("res.partner", [("email_normalized", "=", "a@e.com")]) == [partner]


def test_a_many2one_written_with_a_text_is_lost_without_a_word(
    odoo: SandboxOdoo, admin: odoorpc.ODOO
) -> None:
    partner = odoo.add_partner(name="A", country="GB")
    assert admin.execute_kw("res.partner", "write", [[partner], {"country_id": "United Kingdom"}]) is True
    assert odoo.read("res.partner", partner, "country_id")["country_id"] is False


def test_a_database_that_does_not_exist_is_an_operational_error(odoo: SandboxOdoo) -> None:
    address = urlsplit(odoo.url)
    client = odoorpc.ODOO(address.hostname, port=address.port)
    name, message = error_of(lambda: client.login("nodb", "admin", "admin"))
    assert name == "psycopg2.OperationalError"
    assert 'database "nodb" does not exist' in message


def test_an_unknown_user_id_is_a_missing_record(odoo: SandboxOdoo) -> None:
    call = {"service": "object", "method": "execute_kw"}
    args = ["sandbox", 999999, "x", "res.partner", "search", [[]]]
    answer = requests.post(f"{odoo.url}/jsonrpc", json={"params": {**call, "args": args}}, timeout=10).json()
    assert answer["error"]["data"]["name"] == "odoo.exceptions.MissingError"


def test_databases_of_one_server_are_apart() -> None:
    with SandboxOdoo((18, 0), databases=("production", "staging")).serve() as odoo:
        odoo.add_partner(name="Only in production", ref="x")
        address = urlsplit(odoo.url)
        counts = {}
        for database in ("production", "staging"):
            client = odoorpc.ODOO(address.hostname, port=address.port)
            client.login(database, "admin", "admin")
            counts[database] = client.env["res.partner"].search_count([("ref", "=", "x")])
        assert counts == {"production": 1, "staging": 0}
        assert client.db.list() == ["production", "staging"]


def test_a_wrong_password_cannot_log_in(odoo: SandboxOdoo) -> None:
    with pytest.raises(odoorpc.error.RPCError) as caught:
        log_in(odoo, "admin", "wrong")
    assert caught.value.info is False


def test_an_api_key_is_good_in_place_of_the_password_even_with_two_factors(odoo: SandboxOdoo) -> None:
    uid = odoo.add_user("bot", "secret", two_factor=True)
    key = odoo.add_api_key(uid)
    with pytest.raises(odoorpc.error.RPCError):
        log_in(odoo, "bot", "secret")
    assert log_in(odoo, "bot", key).env.uid == uid


def test_an_expired_key_is_refused_at_login_but_known_to_workers_until_they_restart(
    odoo: SandboxOdoo,
) -> None:
    uid = odoo.add_user("bot")
    key = odoo.add_api_key(uid)
    client = log_in(odoo, "bot", key)
    odoo.expire_api_key(uid, key)
    with pytest.raises(odoorpc.error.RPCError):
        log_in(odoo, "bot", key)
    assert client.execute_kw("res.partner", "search_count", [[]]) > 0
    odoo.restart_workers()
    assert (
        error_of(lambda: client.execute_kw("res.partner", "search", [[]]))[0]
        == "odoo.exceptions.AccessDenied"
    )


def test_faults_meet_a_real_client(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    odoo.faults.add(Fault("reset_before", match_body_regex="res.partner"))
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        admin.execute_kw("res.partner", "create", [{"name": "A", "ref": "x"}])
    odoo.faults.add(Fault("reset_after", match_body_regex="res.partner"))
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        admin.execute_kw("res.partner", "create", [{"name": "B", "ref": "x"}])
    odoo.faults.add(Fault("html_502"))
    with pytest.raises(urllib.error.HTTPError):
        admin.execute_kw("res.partner", "search", [[]])
    assert [
        odoo.read("res.partner", id, "name")["name"] for id in odoo.search("res.partner", [("ref", "=", "x")])
    ] == ["B"]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("serialization_failure", "psycopg2.errors.SerializationFailure", "could not serialize access"),
        ("database_gone", "psycopg2.OperationalError", 'FATAL:  database "sandbox" does not exist'),
    ],
)
def test_trouble_of_the_database_is_worded_as_odoo_does(
    odoo: SandboxOdoo, admin: odoorpc.ODOO, kind: str, name: str, message: str
) -> None:
    odoo.faults.add(Fault(kind, match_body_regex="res.partner"))
    values = {"name": "A", "ref": "x"}
    error = error_of(lambda: admin.execute_kw("res.partner", "create", [values]))
    assert error[0] == name
    assert message in error[1]
    assert odoo.search("res.partner", [("ref", "=", "x")]) == []


def test_the_journal_says_who_called_what_and_keeps_no_secret(odoo: SandboxOdoo) -> None:
    odoo.add_user("bot", "quite-secret", groups=("internal",))
    log_in(odoo, "bot", "quite-secret").execute_kw("res.partner", "search_count", [[]])
    entries = odoo.journal.requests
    assert [(entry.action, entry.account) for entry in entries] == [
        (None, None),
        ("common.login", "bot"),
        ("res.users.context_get", "bot"),
        ("res.partner.search_count", "bot"),
    ]
    assert all("quite-secret" not in str(entry.as_dict()) for entry in odoo.journal.entries)


def test_a_body_that_is_no_json_is_a_bad_request(odoo: SandboxOdoo) -> None:
    assert requests.post(f"{odoo.url}/jsonrpc", data="{", timeout=10).status_code == 400


@pytest.mark.parametrize("version", [(16, 0), (21, 0), (18, 3)])
def test_only_known_versions_can_be_stood_in_for(version: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"use one of \(17, 0\), \(18, 0\), \(19, 0\)"):
        SandboxOdoo(version)


def test_unknown_modules_and_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="modules \\['crm'\\] are unknown"):
        SandboxOdoo(modules={"crm"})
    with pytest.raises(ValueError, match="groups \\['boss'\\] are unknown"):
        SandboxOdoo().add_user("x", groups=("boss",))


def test_a_module_that_is_missing_takes_its_models_and_fields_along(major: int) -> None:
    with SandboxOdoo((major, 0), modules={"sale"}).serve() as odoo:
        client = log_in(odoo)
        for model in ("mailing.list", "account.move", "hr.employee"):
            name, message = error_of(lambda model=model: client.execute_kw(model, "search", [[]]))  # type: ignore[misc]
            assert (name, message) == ("odoo.exceptions.UserError", f"Object {model} doesn't exist")
        lines = client.execute_kw("sale.order.line", "fields_get", [], {"attributes": ["type"]})
        assert {"is_delivery", "invoice_lines"} & set(lines) == set()
        assert odoo.blacklist("a@e.com")
