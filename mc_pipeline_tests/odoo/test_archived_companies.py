"""A company archived in Odoo stays among its users' companies: it is never asked for, over any transport."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from mc_pipeline.odoo.client import ConnectedClient, connect
from mc_pipeline.odoo.errors import OdooCompanyArchivedError
from mc_pipeline.odoo.exclusions import read_not_customers
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.connection import OdooAt, Patience


@pytest.fixture(params=["jsonrpc", "json2"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def odoo(api: str) -> Iterator[SandboxOdoo]:
    with SandboxOdoo((19, 0)).serve() as served:
        yield served


@contextmanager
def _connected(
    odoo: SandboxOdoo, api: str, company: int, groups: tuple[str, ...] = ("admin",)
) -> Iterator[ConnectedClient]:
    companies = odoo.search("res.company", [])
    key = odoo.add_api_key(odoo.add_user("bot", groups=groups, company_ids=companies))
    at = OdooAt(odoo.url, database="sandbox", user="bot", secret=SecretStr(key), api=api)
    with connect(at, [company], retry=Patience().policy) as client:
        assert client.transport == api
        yield client


def test_an_archived_company_is_none_of_the_users(odoo, api):
    second, archived = odoo.add_company("Second"), odoo.add_company("Archived")
    odoo.write("res.company", archived, {"active": False})
    with _connected(odoo, api, 1) as client:
        assert client.user_company_ids == (1, second)
        assert client.archived_company_ids == (archived,)


def test_partners_of_a_company_are_read_beside_an_archived_one(odoo, api):
    archived = odoo.add_company("Archived")
    odoo.write("res.company", archived, {"active": False})
    customer = odoo.add_partner(name="customer", company_id=1)
    with _connected(odoo, api, 1) as client:
        table = read_partners(client, 1)
    assert table.complete
    assert customer in set(table.rows["partner_id"])


def test_the_own_partner_of_an_archived_company_is_no_customer_where_odoo_shows_it(odoo, api):
    archived = odoo.add_company("Archived")
    partner = odoo.read("res.company", archived, "partner_id")["partner_id"]
    odoo.write("res.company", archived, {"active": False})
    with _connected(odoo, api, 1) as client:
        not_customers = read_not_customers(client)
    assert partner in not_customers.own_companies
    assert [note for note in not_customers.notes if "archived" in note] == []


def test_where_odoo_hides_the_archived_company_a_note_says_so(odoo, api):
    archived = odoo.add_company("Archived")
    partner = odoo.read("res.company", archived, "partner_id")["partner_id"]
    odoo.write("res.company", archived, {"active": False})
    with _connected(odoo, api, 1, ("sales_all", "email_marketing")) as client:
        not_customers = read_not_customers(client)
    assert partner not in not_customers.own_companies
    (note,) = [note for note in not_customers.notes if "archived" in note]
    assert note.startswith(f"company {archived} is archived and Odoo hides it from its user")
    assert not any(not_customers.incomplete_because)


def test_an_archived_company_of_the_settings_is_named_with_what_to_do(odoo, api):
    archived = odoo.add_company("Archived")
    odoo.write("res.company", archived, {"active": False})
    with pytest.raises(OdooCompanyArchivedError) as raised, _connected(odoo, api, archived):
        pass
    assert str(raised.value) == (
        f"company {archived} is archived in Odoo: unarchive it there (Settings / Companies), or correct "
        "odoo_company_id, or remove the company from companies.yaml"
    )


def test_companies_that_may_not_be_read_make_the_table_incomplete_and_nothing_more(odoo, api):
    with _connected(odoo, api, 1, ("sales_all", "email_marketing")) as client:
        odoo.deny(client.user_id, "res.company")
        table = read_partners(client, 1)
    assert not table.complete
    assert "the companies' own partners cannot be told from customers" in table.incomplete_because
