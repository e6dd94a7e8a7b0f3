"""Calls over a connection: kept alive, limited to companies, repeated only where that is safe."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mc_pipeline.odoo.client import connect
from mc_pipeline.odoo.errors import (
    OdooAccessError,
    OdooAuthenticationError,
    OdooConnectionError,
    OdooError,
    OdooFieldMissingError,
    OdooModelMissingError,
    OdooRecordMissingError,
    OdooServerError,
    OdooValidationError,
)
from mc_pipeline_tests.odoo.byte_server import CLOSE, LOGGED_IN, SILENCE, error, http, result, serve
from mc_pipeline_tests.odoo.connection import OdooAt, Patience, connected

SERIALIZATION = error(
    "psycopg2.errors.SerializationFailure", "could not serialize access due to concurrent update"
)


def test_one_connection_serves_many_calls():
    with serve(*LOGGED_IN, result([1])) as server:
        client = connected(server.url)
        for _ in range(20):
            client.search("res.partner", [])
    assert len(server.requests) == 24
    assert server.connections == 1


def test_every_call_names_the_companies_and_shows_archived_records():
    with serve(*LOGGED_IN, result([])) as server:
        client = connected(server.url)
        client.search("res.partner", [("name", "=", "x")], limit=5, order="id", offset=10)
        client.with_companies([2]).read("res.partner", [1], ["name"])
        client.execute("mail.blacklist", "write", [3], {"active": True})
    calls = [body["params"]["args"][3:] for _, _, body in server.requests[-3:]]
    everything = {"active_test": False, "lang": "en_US"}
    assert calls == [
        [
            "res.partner",
            "search",
            [[["name", "=", "x"]]],
            {"limit": 5, "order": "id", "offset": 10, "context": {"allowed_company_ids": [1], **everything}},
        ],
        [
            "res.partner",
            "read",
            [[1]],
            {"fields": ["name"], "load": "", "context": {"allowed_company_ids": [2], **everything}},
        ],
        [
            "mail.blacklist",
            "write",
            [[3], {"active": True}],
            {"context": {"allowed_company_ids": [1], **everything}},
        ],
    ]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(CLOSE, id="connection closed without an answer"),
        pytest.param(
            error("psycopg2.OperationalError", "server closed the connection"), id="database restarted"
        ),
        pytest.param(http("502 Bad Gateway", b"<html></html>", "text/html"), id="bad gateway"),
        pytest.param(http("503 Service Unavailable", b"", "text/plain", "Retry-After: 7"), id="unavailable"),
        pytest.param(http("429 Too Many Requests", b"", "text/plain"), id="too many requests"),
        pytest.param(http("500 Internal Server Error", b"{}"), id="internal error"),
        pytest.param(http("200 OK", b""), id="empty body"),
        pytest.param(http("200 OK", b'{"jsonrpc": "2.0", "result": [1, 2'), id="cut JSON"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\nConnection: close\r\n\r\n{}",
            id="shorter than announced",
        ),
    ],
)
def test_a_read_is_repeated_after_passing_trouble_and_a_write_is_not(trouble):
    patience = Patience()
    with serve(*LOGGED_IN, trouble, trouble, result([1])) as server:
        client = connect(OdooAt(server.url), [1], retry=patience.policy)
        assert client.search("res.partner", []) == [1]
    assert server.methods()[4:] == ["res.partner.search"] * 3
    assert len(patience.waits) == 2

    with serve(*LOGGED_IN, trouble, result(True)) as server:
        client = connect(OdooAt(server.url), [1], retry=Patience().policy)
        with pytest.raises((OdooConnectionError, OdooServerError)):
            client.execute("mail.blacklist", "write", [1], {"active": True})
    assert server.methods()[4:] == ["mail.blacklist.write"]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(SERIALIZATION, id="serialization failure"),
        pytest.param(error("psycopg2.errors.DeadlockDetected", "deadlock"), id="deadlock"),
    ],
)
def test_a_write_that_odoo_rolled_back_is_repeated(trouble):
    with serve(*LOGGED_IN, trouble, trouble, result(True)) as server:
        client = connect(OdooAt(server.url), [1], retry=Patience().policy)
        assert client.execute("mail.blacklist", "write", [1], {"active": True}) is True
    assert server.methods()[4:] == ["mail.blacklist.write"] * 3


def test_a_write_whose_connection_broke_may_have_been_applied():
    with serve(*LOGGED_IN, CLOSE) as server:
        client = connected(server.url)
        with pytest.raises(OdooConnectionError) as raised:
            client.execute("mail.blacklist", "create", {"email": "jane@example.com"})
    assert raised.value.may_have_been_applied
    assert (raised.value.model, raised.value.method) == ("mail.blacklist", "create")


def test_a_write_that_never_reached_odoo_is_repeated():
    with serve(*LOGGED_IN) as server:
        patience = Patience(attempts=3)
        client = connect(OdooAt(server.url), [1], retry=patience.policy)
    # the server is gone: the next connection is refused
    with pytest.raises(OdooConnectionError) as raised:
        client.execute("mail.blacklist", "write", [1], {"active": True})
    assert not raised.value.may_have_been_applied
    assert len(patience.waits) == 2


def test_waits_grow_with_jitter_are_bounded_and_follow_retry_after():
    patience = Patience(attempts=8)
    unavailable = http("503 Service Unavailable", b"", "text/plain", "Retry-After: 7")
    with serve(*LOGGED_IN, unavailable) as server:
        client = connect(OdooAt(server.url), [1], retry=patience.policy)
        with pytest.raises(OdooServerError, match="HTTP 503"):
            client.search_count("res.partner", [])
    assert len(patience.waits) == 7
    assert all(7 <= wait <= 20 for wait in patience.waits)


def test_a_read_that_times_out_is_repeated():
    patience = Patience()
    with serve(*LOGGED_IN, SILENCE, result(3)) as server:
        client = connect(OdooAt(server.url, timeout_seconds=0.2), [1], retry=patience.policy)
        assert client.search_count("res.partner", []) == 3


@pytest.mark.parametrize(
    ("name", "message", "kind", "words"),
    [
        ("odoo.exceptions.AccessDenied", "Access Denied", OdooAuthenticationError, "odoo.secret"),
        (
            "odoo.exceptions.AccessError",
            "You are not allowed to access 'Email Blacklist' (mail.blacklist) records.\n\n"
            "This operation is allowed for the following groups:\n"
            "\t- Email Marketing/User\n\t- Email Marketing/Boss\n\n"
            "Contact your administrator to request access if necessary.",
            OdooAccessError,
            "groups Email Marketing/User, Email Marketing/Boss",
        ),
        (
            "odoo.exceptions.AccessError",
            "Access to unauthorized or invalid companies.",
            OdooAccessError,
            "unauthorized or invalid companies",
        ),
        (
            "odoo.exceptions.AccessError",
            "Private methods (such as 'mail.blacklist._add') cannot be called remotely.",
            OdooAccessError,
            "Private methods",
        ),
        (
            "odoo.exceptions.MissingError",
            "Record does not exist or has been deleted.",
            OdooRecordMissingError,
            "deleted",
        ),
        (
            "odoo.exceptions.ValidationError",
            "The operation cannot be completed",
            OdooValidationError,
            "cannot be",
        ),
        ("odoo.exceptions.UserError", "You cannot delete this", OdooValidationError, "cannot delete"),
        ("odoo.exceptions.UserError", "Object nope.model doesn't exist", OdooModelMissingError, "nope.model"),
        ("builtins.ValueError", "Invalid field 'nope' on 'res.partner'", OdooFieldMissingError, "'nope'"),
        (
            "builtins.ValueError",
            "Invalid field res.partner.nope in leaf ('nope', '=', 1)",
            OdooFieldMissingError,
            "res.partner.nope",
        ),
        ("builtins.ValueError", "Wrong value for res.partner.type: 'x'", OdooValidationError, "Wrong value"),
        ("builtins.TypeError", "got an unexpected keyword argument 'nope'", OdooValidationError, "nope"),
        (
            "builtins.AttributeError",
            "The method 'res.partner.nope' does not exist",
            OdooValidationError,
            "no method",
        ),
        ("builtins.ZeroDivisionError", "division by zero", OdooServerError, "ZeroDivisionError"),
    ],
)
def test_the_name_of_odoos_exception_decides_the_error(name, message, kind, words):
    with serve(*LOGGED_IN, error(name, message)) as server:
        client = connected(server.url)
        with pytest.raises(OdooError) as raised:
            client.read("mail.blacklist", [1], ["email"])
    assert type(raised.value) is kind
    assert words in str(raised.value)
    assert raised.value.name == name
    assert "secret-debug" not in str(raised.value)
    assert len(server.requests) == 5, "an answer of Odoo's is final and not asked for again"


@pytest.mark.parametrize(
    "message",
    [
        "Uh-oh! Looks like you have stumbled upon some top-secret records.\n\n"
        "Sorry, Mitchell Admin (id=2) doesn't have 'read' access to:\n"
        "- Contact, Jane Doe (res.partner: 10, company=ACME)\n\n"
        "Blame the following rules:\n- res.partner company\n",
        "Due to security restrictions, you are not allowed to access 'Contact' (res.partner) records.\n\n"
        "Records: Jane Doe (id=10)\nUser: Mitchell Admin (id=2)\n\n"
        "This restriction is due to the following rules:\n- res.partner company\n",
        # since 19.4 record rules are accesses
        "Uh-oh! Looks like you have stumbled upon some top-secret records.\n\n"
        "Sorry, Mitchell Admin (id=2) doesn't have 'read' access to:\n"
        "- Contact, Jane Doe (res.partner: 10, company=ACME)\n\n"
        "Blame the following accesses:\n- res.partner company\n",
    ],
)
def test_an_access_error_names_the_rules_and_never_records_or_users(message):
    with serve(*LOGGED_IN, error("odoo.exceptions.AccessError", message)) as server:
        client = connected(server.url)
        with pytest.raises(OdooAccessError) as raised:
            client.read("res.partner", [10], ["name"])
    assert "res.partner company" in str(raised.value)
    assert "Jane" not in str(raised.value)
    assert "Mitchell" not in str(raised.value)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid email address 'jane doe at example'",
        "Invalid email address “jane@example.com”",
        "jane@example.com is taken",
        "j••• is here.\n\nLinked active users : jane doe",
    ],
)
def test_addresses_in_odoos_messages_are_masked(message):
    with serve(*LOGGED_IN, error("odoo.exceptions.UserError", message)) as server:
        client = connected(server.url)
        with pytest.raises(OdooValidationError) as raised:
            client.execute("mail.blacklist", "create", {"email": "x"})
    assert "jane" not in str(raised.value)
    assert "j•••" in str(raised.value)


@pytest.mark.parametrize(
    "broken", [{"message": "404: Not Found", "code": 404}, {"data": {}}, "down", {"data": []}]
)
def test_an_error_without_a_name_is_still_an_error(broken):
    answer = http("200 OK", json.dumps({"jsonrpc": "2.0", "id": 1, "error": broken}).encode())
    with serve(*LOGGED_IN, answer) as server:
        client = connected(server.url)
        with pytest.raises(OdooServerError, match="without giving a reason"):
            client.search("res.partner", [])


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda client: client.search("res.partner", []), None),
        (lambda client: client.search("res.partner", []), {"length": 3}),
        (lambda client: client.search_count("res.partner", []), True),
        (lambda client: client.read("res.partner", [1], ["name"]), False),
        (lambda client: client.fields_get("res.partner"), []),
    ],
)
def test_an_answer_of_the_wrong_kind_is_never_taken_as_nothing_found(call, answer):
    with serve(*LOGGED_IN, result(answer)) as server, pytest.raises(OdooServerError, match="instead of"):
        call(connected(server.url))


def test_the_fields_of_a_model_are_asked_once_also_by_several_threads():
    with serve(*LOGGED_IN, result({"name": {"type": "char"}})) as server:
        client = connected(server.url)
        together = threading.Barrier(4)

        def ask(_: int) -> list[str]:
            together.wait(5)
            return list(client.with_companies([2]).fields_get("res.partner"))

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(ask, range(4))) == [["name"]] * 4
    assert server.methods().count("res.partner.fields_get") == 1


@pytest.mark.parametrize(
    ("version", "arguments"), [("17.0", ["g.x"]), ("18.0", [[7], "g.x"]), ("19.0", [[7], "g.x"])]
)
def test_a_group_is_asked_in_the_form_of_the_version(version, arguments):
    with serve(result({"server_version": version}), *LOGGED_IN[1:], result(True)) as server:
        assert connected(server.url, api="jsonrpc").has_group("g.x") is True
    assert server.requests[-1][2]["params"]["args"][5] == arguments


def test_a_closed_client_says_so():
    with serve(*LOGGED_IN) as server:
        client = connected(server.url)
        client.close()
        with pytest.raises(OdooConnectionError, match="closed"):
            client.search("res.partner", [])
