"""What a data engineer and marketing ops see: the graph, a check that failed, and where its links lead."""

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from mc_pipeline.cli.running import Outcome
from mc_pipeline_tests.browser.conftest import SLOWEST_STEP_MILLISECONDS, DagsterUI, Trouble

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
expect.set_options(timeout=SLOWEST_STEP_MILLISECONDS)

ASSETS = (
    "odoo_partners", "odoo_orders", "odoo_refunds", "odoo_blacklist", "mailchimp_members", "contacts",
    "set_aside", "audience_plan", "audience_push",
)  # fmt: skip


def open_check(page: Page, ui: DagsterUI, asset: str, check: str) -> None:
    page.goto(f"{ui.url}/assets/{asset}?{urlencode({'view': 'checks', 'checkDetail': check})}")
    expect(page.get_by_text("Latest execution").first).to_be_visible()


def test_the_asset_graph_shows_every_group_and_its_assets(
    page: Page, dagster_ui: DagsterUI, trouble: Trouble
):
    page.goto(f"{dagster_ui.url}/asset-groups/")
    for group in ("odoo", "consent", "audience"):
        expect(page.get_by_text(group, exact=True).locator("visible=true").first).to_be_visible()
    page.goto(f"{dagster_ui.url}/assets/audience_plan?view=lineage&lineageScope=neighbors&lineageDepth=3")
    for asset in ASSETS:
        expect(page.get_by_text(asset, exact=True).locator("visible=true").first).to_be_visible()
    assert trouble == Trouble()


def test_a_plan_that_waits_says_how_to_release_it(page: Page, dagster_ui: DagsterUI, trouble: Trouble):
    assert dagster_ui.run.outcome is Outcome.WAITS_FOR_APPROVAL
    open_check(page, dagster_ui, "audience_plan", "within_guards")
    for text in (
        "Needs approval: retail, wholesale: first load",
        "acme_uk",
    ):
        expect(page.get_by_text(text).first).to_be_visible()
    page.get_by_text("[Show Markdown]").click()
    expect(page.get_by_text(re.compile(r"mc-pipeline approve [0-9a-f]{12}")).last).to_be_visible()
    expect(page.get_by_text("release_plan:")).to_be_visible()
    assert trouble == Trouble()


def test_people_with_one_address_are_listed_masked_and_a_click_opens_the_contact_in_odoo(
    page: Page, dagster_ui: DagsterUI, trouble: Trouble
):
    one = dagster_ui.servers.world.people["duplicate"]
    open_check(page, dagster_ui, "odoo_partners", "emails_unique")
    expect(page.get_by_text("Merge the contacts in Odoo").first).to_be_visible()
    expect(page.get_by_text("•••@").first).to_be_visible()
    page.get_by_text("[Show Markdown]").click()
    page.get_by_role("link", name=str(one.partner_id), exact=True).click()
    page.wait_for_url(f"{dagster_ui.servers.odoo.url}/sandbox/partners/{one.partner_id}")
    expect(page.get_by_text("Sandbox: a stand-in for Odoo")).to_be_visible()
    assert trouble == Trouble()
