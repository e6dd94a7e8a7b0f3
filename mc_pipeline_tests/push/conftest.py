"""Every test of pushing has a desk: a served audience with automations that would mail, and a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline_tests.push.desk import LIST, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    mailchimp = SandboxMailchimp(keep_responses=True)
    mailchimp.add_audience(LIST, "Retail", welcome_automation=True, tag_automation=True)
    with mailchimp.serve():
        yield Desk(mailchimp, tmp_path)
