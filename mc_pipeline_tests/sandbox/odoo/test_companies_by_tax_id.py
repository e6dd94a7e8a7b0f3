"""Partners from Odoo 19.1 on: companies by tax id, the topmost commercial partner, and upgrades in place.

After Odoo's source (``odoo/addons/base/models/res_partner.py`` of 19.1, 19.4 and 20.0): no server of these
versions was recorded.
"""

import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline_tests.sandbox.odoo.conftest import log_in

LATER = [(19, 1), (19, 4), (20, 0)]


@pytest.fixture(params=LATER, ids=str)
def later(request, switchboard) -> SandboxOdoo:
    board, url = switchboard
    odoo = SandboxOdoo(request.param)
    board.app, odoo.url = odoo.app, url
    return odoo


def flags(odoo: SandboxOdoo, *partners: int) -> list[bool]:
    return [odoo.read("res.partner", each, "is_company")["is_company"] for each in partners]


def commercial(odoo: SandboxOdoo, partner: int) -> int:
    return int(odoo.read("res.partner", partner, "commercial_partner_id")["commercial_partner_id"])


def test_a_company_is_who_has_a_tax_id_and_no_parent(later):
    firm = later.add_partner(name="Firm", vat="GB123456789")
    ticked = later.add_partner(name="Ticked", is_company=True)
    below = later.add_partner(name="Below", parent_id=firm)
    void = [later.add_partner(name="Void", vat=vat) for vat in ("/", "na", "NA", "")]
    assert flags(later, firm, ticked, below, *void) == [True, False, False, *[False] * 4]


def test_the_flag_follows_the_tax_id_and_the_parent_and_no_one_who_writes_it(later):
    firm, head = later.add_partner(name="Firm"), later.add_partner(name="Head")
    later.edit_partner(firm, is_company=True)
    assert flags(later, firm) == [False]
    later.edit_partner(firm, vat="GB123456789")
    assert flags(later, firm) == [True]
    later.edit_partner(firm, parent_id=head)
    assert flags(later, firm) == [False]
    later.edit_partner(firm, parent_id=False)
    assert flags(later, firm) == [True]
    later.edit_partner(firm, vat=False)
    assert flags(later, firm) == [False]


def test_the_topmost_parent_is_the_commercial_partner(later):
    top = later.add_partner(name="Holding", vat="FR40303265045")
    middle = later.add_partner(name="Subsidiary", vat="GB987654321", parent_id=top)
    buyer = later.add_partner(name="Buyer", parent_id=middle)
    assert [commercial(later, each) for each in (top, middle, buyer)] == [top] * 3


def test_a_private_person_has_its_own_name_as_company_name_from_19_4_on(later):
    person = later.add_partner(name="Carla Person")
    shown = later.read("res.partner", person, "commercial_company_name")["commercial_company_name"]
    assert shown == ("Carla Person" if later.version >= (19, 4) else False)


def test_fields_that_went_are_gone(later):
    fields = set(log_in(later).env["res.partner"].fields_get())
    assert "company_type" not in fields
    assert ("company_name" in fields) is (later.version < (19, 4))
    assert ("has_vat" in fields) is (later.version >= (20, 0))


@pytest.mark.parametrize(
    ("version", "text", "info", "serie"),
    [
        ((19, 4), "saas~19.4+e", ["saas~19", 4, 0, "final", 0, "e"], "saas~19.4"),
        ((20, 0), "20.0", [20, 0, 0, "final", 0, ""], "20.0"),
    ],
)
def test_versions_of_odoo_online_are_named_saas(version, text, info, serie):
    version_info = SandboxOdoo(version).release.version_info()
    protocol = {} if version >= (20, 0) else {"protocol_version": 1}
    assert version_info == {
        "server_version": text,
        "server_version_info": info,
        "server_serie": serie,
        **protocol,
    }


class OldWorld:
    """Customers of an Odoo 19, as its users ticked them."""

    def __init__(self, odoo: SandboxOdoo) -> None:
        self.odoo = odoo
        self.with_tax_id = odoo.add_partner(name="Acme", is_company=True, vat="GB123456789")
        self.without = odoo.add_partner(name="Bloggs", is_company=True)
        self.subsidiary = odoo.add_partner(name="Sub", is_company=True, vat="GB1", parent_id=self.with_tax_id)
        self.buyer = odoo.add_partner(name="Eve", parent_id=self.subsidiary)
        self.person = odoo.add_partner(name="Dario", vat="DRASRN80A01H501X", company_name="Typed")
        self.order = odoo.add_order(self.buyer, lines=[{"name": "Goods", "price_unit": 10.0}])
        self.companies = (self.with_tax_id, self.without, self.subsidiary, self.person)


def test_an_upgrade_in_place_keeps_the_records_and_judges_companies_again(odoo19):
    world = OldWorld(odoo19)
    assert flags(odoo19, *world.companies) == [True, True, True, False]
    assert commercial(odoo19, world.buyer) == world.subsidiary
    odoo19.upgrade((20, 0))
    assert flags(odoo19, *world.companies) == [True, False, False, True]
    assert commercial(odoo19, world.buyer) == world.with_tax_id
    client = log_in(odoo19)
    assert client.version == "20.0"
    (order,) = client.env["sale.order"].search_read([("id", "=", world.order)], ["partner_id"])
    assert order["partner_id"][0] == world.buyer
    assert "company_name" not in client.env["res.partner"].fields_get()


def test_an_upgrade_may_leave_old_flags_until_the_tax_id_or_the_parent_changes(odoo19):
    world = OldWorld(odoo19)
    odoo19.upgrade((20, 0), companies_judged_anew=False)
    assert flags(odoo19, *world.companies) == [True, True, True, False]
    odoo19.edit_partner(world.without, name="Bloggs & Co")
    assert flags(odoo19, world.without) == [True]
    odoo19.edit_partner(world.without, vat="/")
    assert flags(odoo19, world.without) == [False]


def test_a_customised_field_survives_an_upgrade(odoo19):
    odoo19.model("res.partner").add_field(Field("x_newsletter", "boolean"))
    partner = odoo19.add_partner(name="Ann", x_newsletter=True)
    odoo19.upgrade((20, 0))
    assert odoo19.read("res.partner", partner, "x_newsletter")["x_newsletter"] is True


def test_only_a_later_version_is_an_upgrade(odoo19):
    with pytest.raises(ValueError, match="is not later"):
        odoo19.upgrade((18, 0))
