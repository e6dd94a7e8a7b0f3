"""What the user may do, asked by record where Odoo gives rights by record."""

import pytest

from mc_pipeline.odoo.rights import may
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in

VERSIONS = [(17, 0), (18, 0), (19, 0), (19, 1), (19, 4), (20, 0)]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("with_customers", [True, False])
def test_a_user_who_may_write_its_own_partner_alone_may_not_write_partners(version, with_customers):
    """A fresh database has the partners of its own users, and the public and portal templates."""
    with SandboxOdoo(version).serve() as odoo:
        if with_customers:
            odoo.add_partner(name="Ada Lovelace")
        odoo.add_user("bot", "secret")
        odoo.add_user("manager", "secret", groups=("partner_manager",))
        with logged_in(odoo, "bot", "secret") as client:
            allowed = [may(client, "res.partner", each) for each in ("read", "create", "write", "unlink")]
            assert allowed == [True, False, False, False]
        with logged_in(odoo, "manager", "secret") as client:
            allowed = [may(client, "res.partner", each) for each in ("read", "create", "write", "unlink")]
            assert allowed == [True, True, True, True]


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_right_on_a_model_without_records_is_reported_too(version):
    with SandboxOdoo(version).serve() as odoo:
        odoo.add_user("bot", "secret", groups=("email_marketing",))
        odoo.add_user("plain", "secret")
        for login, right in (("bot", True), ("plain", False)):
            with logged_in(odoo, login, "secret") as client:
                assert may(client, "mail.blacklist", "write") is right
                assert may(client, "mail.blacklist", "create") is right
