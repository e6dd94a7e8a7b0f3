"""A person is erased while a run is under way: whatever it has in memory, nobody comes back (rule 10.1)."""

import pytest

from mc_pipeline.defs.erased_people import ERASURE_KEY_VARIABLE
from mc_pipeline_tests.properties.erasing import KEY, erase, traces
from mc_pipeline_tests.properties.runs import MOMENTS, _steps
from mc_pipeline_tests.properties.small_world import ORDERED, RETAIL, WHOLESALE, SmallWorld, small_world

STEPS = (
    "mailchimp_opt_outs",
    "odoo_opt_outs",
    "mailchimp_unsubscribes",
    "odoo_partners",
    "odoo_refunds",
    "odoo_orders",
    "odoo_order_lines",
    "odoo_products",
    "odoo_blacklist",
    "mailchimp_members",
    "missed_opt_outs",
    "contacts",
    "audience_plan",
    "audience_plan_checks",
    "audience_push",
    "store_orders",
    "product_push",
    "order_push",
    "revenue_reconciliation",
)


@pytest.fixture(autouse=True)
def with_key(monkeypatch):
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, KEY)


def customer(world: SmallWorld, email: str, name: str = "Ann Ash", **values) -> int:
    partner = world.odoo.add_partner(name=name, email=email, **values)
    world.odoo.add_order(partner, 100, date_order=ORDERED)
    return partner


def test_every_step_of_a_run_is_looked_at():
    with small_world() as world:
        assert set(STEPS) == set(_steps(world.settings))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_new_customer_erased_during_a_step_is_not_created_and_leaves_no_trace(step, moment):
    with small_world() as world:
        customer(world, "bob@example.com", "Bob Brown")
        world.run_until_done()
        partner = customer(world, "vera@example.com", "Vera Violet")
        world.odoo.subscribe(world.newsletter, "vera@example.com")
        erased = []

        def meanwhile(at: str, name: str) -> None:
            if (at, name) == (moment, step):
                erased.append(erase(world, partner_ids=[partner]))

        run = world.run(meanwhile=meanwhile)
        if run.failure is not None:
            raise AssertionError(f"the run failed in {run.failed_step}") from run.failure
        assert erased
        for list_id in (RETAIL, WHOLESALE):
            assert world.mailchimp.status(list_id, "vera@example.com") is None
        assert world.mailchimp.status(RETAIL, "bob@example.com") == "transactional"
        assert traces(world, "vera@example.com", "Vera Violet") == []
        world.run_until_done()
        assert world.mailchimp.status(RETAIL, "vera@example.com") is None
        assert traces(world, "vera@example.com", "Vera Violet") == []
