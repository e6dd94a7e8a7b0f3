"""A person is erased while a run is in progress: whatever it has in memory, nobody comes back (rule 10.1)."""

import pytest

from mc_pipeline.settings import load_settings
from mc_pipeline.sync.erased_people import ERASURE_KEY_VARIABLE
from mc_pipeline_tests.properties.erasing import KEY, erase, traces
from mc_pipeline_tests.properties.runs import MOMENTS, _steps
from mc_pipeline_tests.properties.small_world import (
    LISTS,
    ORDERED,
    RETAIL,
    SECRETS,
    SmallWorld,
    small_world,
)

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


@pytest.mark.quick
def test_every_step_of_a_run_is_looked_at():
    with small_world() as world:
        assert set(STEPS) == set(_steps(world.settings))


def with_a_store(world: SmallWorld) -> None:
    config = world.folder / "companies.yaml"
    retail = f"list_id: {RETAIL}\n"
    text = config.read_text()
    assert text.count(retail) == 1
    store = "        store: {id: acme-retail, name: ACME, currency: EUR}\n"
    config.write_text(text.replace(retail, retail + store))
    world.settings = load_settings(config, SECRETS)


def test_anyone_who_is_erased_at_some_moment_of_a_run_is_not_created_and_leaves_no_trace():
    """One new customer for each moment of each step, all of them with consent, and all in one run."""
    with small_world() as world:
        with_a_store(world)
        customer(world, "bob@example.com", "Bob Brown")
        world.run_until_done()
        moments = [(moment, step) for step in STEPS for moment in MOMENTS]
        erased = {}
        for number, when in enumerate(moments):
            email, name = f"person{number}@example.com", f"Vera Violet {number}"
            erased[when] = (customer(world, email, name), email, name)
            world.odoo.subscribe(world.newsletter, email)
        left = dict(erased)

        def meanwhile(moment: str, step: str) -> None:
            erase(world, partner_ids=[left.pop((moment, step))[0]])

        run = world.run(meanwhile=meanwhile)
        if run.failure is not None:
            raise AssertionError(f"the run failed in {run.failed_step}") from run.failure
        assert left == {}
        check_nobody_is_left(world, erased.values())
        assert world.mailchimp.status(RETAIL, "bob@example.com") == "transactional"
        world.run_until_done()
        check_nobody_is_left(world, erased.values())


def check_nobody_is_left(world: SmallWorld, people) -> None:
    emails = {email for _, email, _ in people}
    assert emails & {each.lower() for list_id in LISTS for each in world.mailchimp.statuses(list_id)} == set()
    store = world.mailchimp.state.stores["acme-retail"]
    assert {each.email_address for each in store.customers.values()} == {"bob@example.com"}
    assert len(store.orders) == 1
    assert traces(world, *emails, *(name for _, _, name in people)) == []


def test_a_step_that_fails_after_an_erasure_leaves_its_traces_to_the_next_run():
    with small_world() as world:
        customer(world, "bob@example.com", "Bob Brown")
        world.run_until_done()
        partner = customer(world, "vera@example.com", "Vera Violet")

        def meanwhile(moment: str, step: str) -> None:
            if (moment, step) == ("done", "missed_opt_outs"):
                erase(world, partner_ids=[partner])
                with world._ledger_of_a_person() as systems:
                    systems.ledger.due_in_odoo.add("acme", ["vera@example.com"])
                raise RuntimeError("the process is ended")

        assert world.run(meanwhile=meanwhile).failed_step == "missed_opt_outs"
        world.run(meanwhile=lambda moment, step: None)
        assert traces(world, "vera@example.com", "Vera Violet") == []
