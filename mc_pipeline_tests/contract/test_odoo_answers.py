"""How Odoo answers: logins, errors by name, reads. The same on the stand-in and on real servers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import SecretStr

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
)
from mc_pipeline.odoo.paging import read_all
from mc_pipeline_tests.odoo.connection import Patience


def test_the_version_and_the_companies_of_the_user_are_known(odoo):
    assert odoo.client.version in {(17, 0), (18, 0), (19, 0)}
    assert odoo.company in odoo.client.user_company_ids


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
        (lambda c: c.execute("mail.blacklist", "_add", ["x@example.com"]), OdooAccessError),
        (lambda c: c.execute("res.partner", "search_read", [], nope=1), OdooValidationError),
        (lambda c: c.search("res.partner", [("name", "~~", "x")]), OdooValidationError),
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
