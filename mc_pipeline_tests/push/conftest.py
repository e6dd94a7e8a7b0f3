"""Every test of pushing has a desk: served audiences, with automations that would mail, and a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline_tests.push.desk import LIST, Desk
from mc_pipeline_tests.push.store_desk import RETAIL, WHOLESALE, StoreDesk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    mailchimp = SandboxMailchimp(keep_responses=True)
    mailchimp.add_audience(LIST, "Retail", welcome_automation=True, tag_automation=True)
    with mailchimp.serve():
        yield Desk(mailchimp, tmp_path)


@pytest.fixture
def store_desk(tmp_path: Path) -> Iterator[StoreDesk]:
    mailchimp = SandboxMailchimp(keep_responses=True)
    for store in (RETAIL, WHOLESALE):
        mailchimp.add_audience(store.list_id, store.name)
        for email in ("ada@example.com", "bob@example.com", "eve@example.com"):
            mailchimp.add_member(store.list_id, email, "subscribed")
    with mailchimp.serve():
        desk = StoreDesk(mailchimp, tmp_path)
        desk.open_audiences()
        yield desk
