"""How Odoo answers: logins, errors by name, reads.

The same over both transports, on the stand-in and on real servers.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import SecretStr

from mc_pipeline.odoo.api_keys import read_api_keys
from mc_pipeline.odoo.client import connect
from mc_pipeline.odoo.errors import (
    OdooAccessError,
    OdooAuthenticationError,
    OdooDatabaseError,
    OdooError,
    OdooFieldMissingError,
    OdooModelMissingError,
    OdooRecordMissingError,
    OdooValidationError,
    OdooVersionError,
)
from mc_pipeline.odoo.paging import read_all
from mc_pipeline.odoo.rights import Operation, may
from mc_pipeline_tests.odoo.connection import Patience


def test_the_version_and_the_companies_of_the_user_are_known(odoo):
    assert odoo.client.version in {(17, 0), (18, 0), (19, 0), (19, 4), (20, 0)}
    assert odoo.company in odoo.client.user_company_ids
    assert odoo.client.transport == odoo.settings.api


def test_json2_is_taken_by_itself_for_an_api_key_on_odoo_19_and_for_nothing_else(odoo):
    automatic = replace(odoo.settings, api="auto")
    for secret, is_key in ((odoo.password, False), (odoo.api_key, True)):
        if not secret:
            continue  # a real server without a key
        settings = replace(automatic, secret=SecretStr(secret))
        with connect(settings, [odoo.company], retry=Patience().policy) as client:
            over_json2 = is_key and client.version >= (19, 0)
            assert client.transport == ("json2" if over_json2 else "jsonrpc")
            assert client.transport_note.startswith("over JSON-2: " if over_json2 else "over JSON-RPC: ")
            assert client.search_count("res.company", [("id", "=", odoo.company)]) == 1


def test_a_transport_that_the_server_lacks_is_refused_with_the_fix(odoo):
    if odoo.client.version >= (19, 0):
        pytest.skip("Odoo 19 has both transports")
    settings = replace(odoo.settings, api="json2", secret=SecretStr("a" * 40))
    with pytest.raises(OdooVersionError, match=r"new in Odoo 19.*auto or jsonrpc"):
        connect(settings, [odoo.company], retry=Patience().policy)


def test_a_password_is_no_key_for_json2(odoo_with_json2):
    settings = replace(odoo_with_json2.settings, secret=SecretStr(odoo_with_json2.password))
    with pytest.raises(OdooAuthenticationError, match="API keys only, no password"):
        connect(settings, [odoo_with_json2.company], retry=Patience().policy)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"secret": SecretStr("wrong")}, OdooAuthenticationError),
        ({"user": "nobody-of-that-name"}, OdooAuthenticationError),
        ({"database": "no_such_database"}, OdooDatabaseError),
    ],
)
def test_wrong_credentials_and_databases_are_told_apart(odoo, change, kind):
    with pytest.raises(OdooError) as raised:
        connect(replace(odoo.settings, **change), [odoo.company], retry=Patience().policy)
    assert type(raised.value) is kind


def test_a_company_the_user_lacks_is_refused_with_those_it_has(odoo):
    with pytest.raises(OdooAccessError, match=rf"company 987654; it has .*{odoo.company}"):
        connect(odoo.settings, [odoo.company, 987654], retry=Patience().policy)


def test_calls_for_a_company_the_user_lacks_are_refused_by_odoo_too(odoo):
    with pytest.raises(OdooAccessError, match="unauthorized or invalid companies"):
        odoo.client.with_companies([987654]).search("sale.order", [])


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda c: c.search("nope.model", []), OdooModelMissingError),
        (lambda c: c.fields_get("nope.model"), OdooModelMissingError),
        (lambda c: c.read("res.partner", [1], ["nope"]), OdooFieldMissingError),
        (lambda c: c.search("res.partner", [("nope", "=", 1)]), OdooFieldMissingError),
        (lambda c: c.search("res.partner", [], order="nope"), OdooFieldMissingError),
        (lambda c: c.execute("res.partner", "nope"), OdooValidationError),
        (lambda c: c.execute("mail.blacklist", "_add", emails=["x@example.com"]), OdooAccessError),
        (lambda c: c.execute("res.partner", "search_read", [], nope=1), OdooValidationError),
        (lambda c: c.search("res.partner", [("name", "~~", "x")]), OdooValidationError),
        (lambda c: c.execute("res.partner", "search", [], nope=1), OdooValidationError),
        (lambda c: c.execute("res.partner", "read", [1], ["id"], nope=1), OdooValidationError),
        (lambda c: c.execute("res.partner", "unlink", [99999999]), OdooRecordMissingError),
        (lambda c: c.execute("res.partner.category", "create", {"color": 1}), OdooValidationError),
        (lambda c: c.execute("mail.blacklist", "create", {}), OdooValidationError),
        (lambda c: c.execute("res.partner", "write", [99999999], {"name": "x"}), OdooRecordMissingError),
        (lambda c: c.execute("mail.blacklist", "create", {"email": "not an email"}), OdooValidationError),
    ],
)
def test_each_refusal_has_its_type(odoo, call, kind):
    with pytest.raises(OdooError) as raised:
        call(odoo.client)
    assert type(raised.value) is kind
    assert "Traceback" not in str(raised.value)


def test_records_that_do_not_exist_are_left_out_of_a_read(odoo):
    partner = odoo.client.search("res.partner", [], limit=1, order="id")[0]
    assert [row["id"] for row in odoo.client.read("res.partner", [partner, 99999999], ["name"])] == [partner]


def test_a_read_of_nothing_but_ids_gives_back_those_of_deleted_records_too(odoo):
    assert odoo.client.read("res.partner", [1, 99999999], ["id"]) == [{"id": 1}, {"id": 99999999}]


def test_tags_and_blacklist_rows_that_do_not_exist_are_deleted_without_a_word(odoo):
    for model in ("res.partner.category", "mail.blacklist"):
        assert odoo.client.execute(model, "unlink", [99999999]) is True


def test_one_record_created_gives_its_id_and_several_give_a_list(odoo, mark):
    one = odoo.client.execute("res.partner.category", "create", {"name": mark})
    several = odoo.client.execute("res.partner.category", "create", [{"name": f"{mark} {n}"} for n in (1, 2)])
    assert isinstance(one, int)
    domain = [("name", "like", mark)]
    assert odoo.client.search("res.partner.category", domain, order="id") == [one, *several]
    assert odoo.client.execute("res.partner.category", "write", [one], {"color": 3}) is True
    assert odoo.client.read("res.partner.category", [one], ["color"]) == [{"id": one, "color": 3}]
    assert odoo.client.execute("res.partner.category", "unlink", several) is True
    assert odoo.client.search("res.partner.category", domain) == [one]


def test_a_blacklist_row_is_archived_and_taken_back(odoo, mark):
    row = odoo.client.execute("mail.blacklist", "create", {"email": f"{mark}@example.com"})
    for method, active in (("action_archive", False), ("action_unarchive", True)):
        odoo.client.execute("mail.blacklist", method, [row])
        assert odoo.client.read("mail.blacklist", [row], ["active"]) == [{"id": row, "active": active}]


def test_related_records_come_as_bare_ids_and_absent_ones_as_false(odoo, mark):
    country = odoo.client.search("res.country", [], limit=1, order="id")[0]
    with_country = odoo.create("res.partner", name=mark, country_id=country)
    without = odoo.create("res.partner", name=mark)
    read = odoo.client.search_read(
        "res.partner", [("id", "in", [with_country, without])], ["country_id", "email"], order="id"
    )
    assert read == [
        {"id": with_country, "country_id": country, "email": False},
        {"id": without, "country_id": False, "email": False},
    ]


def test_searches_count_slice_and_order(odoo, mark):
    made = [odoo.create("res.partner", name=f"{mark} {number}") for number in range(5)]
    domain = [("name", "like", mark)]
    assert odoo.client.search_count("res.partner", domain) == 5
    assert odoo.client.search("res.partner", domain, order="id desc", limit=2, offset=1) == [made[3], made[2]]


def test_archived_records_are_found(odoo, mark):
    partner = odoo.create("res.partner", name=mark, active=False)
    assert odoo.client.search("res.partner", [("name", "=", mark)]) == [partner]


@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_pages_of_every_size_give_all_records_once(odoo, mark, page_size):
    made = [odoo.create("res.partner", name=f"{mark} {number}") for number in range(5)]
    read = read_all(
        odoo.client, "res.partner", [("name", "like", mark)], ["name"], page_size=page_size, connections=3
    )
    assert read.complete
    assert [(row["id"], row["name"]) for row in read.records] == [
        (partner, f"{mark} {number}") for number, partner in enumerate(made)
    ]


def test_threads_on_one_connection_get_each_their_own_answer(odoo, mark):
    made = [odoo.create("res.partner", name=f"{mark} {number}") for number in range(8)]

    def name_of(position: int) -> str:
        return str(odoo.client.read("res.partner", [made[position]], ["name"])[0]["name"])

    asked = list(range(8)) * 5
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(name_of, asked)) == [f"{mark} {position}" for position in asked]


def test_groups_of_the_user_can_be_asked(odoo):
    assert odoo.client.has_group("base.group_user") is True
    assert odoo.client.has_group("base.group_portal") is False


def test_the_keys_of_the_user_are_reported_with_their_end(odoo):
    keys = read_api_keys(odoo.client)
    assert bool(keys) == bool(odoo.api_key)
    if odoo.client.version < (18, 0):
        assert {key.ends_at for key in keys} <= {None}


def test_rights_are_reported_without_making_use_of_them(odoo, mark):
    operations: list[Operation] = ["read", "create", "write", "unlink"]
    assert [may(odoo.client, "mail.blacklist", each) for each in operations] == [True] * 4
    assert [may(odoo.client, "res.partner", each) for each in operations] == [True] * 4
    with odoo.connected_as_plain_user(mark) as plain:
        assert [may(plain, "mail.blacklist", each) for each in operations] == [False] * 4
        assert [may(plain, "res.partner", each) for each in operations] == [True, False, False, False]
    with pytest.raises(OdooModelMissingError):
        may(odoo.client, "nope.model", "read")
