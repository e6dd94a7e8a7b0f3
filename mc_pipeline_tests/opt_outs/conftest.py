"""Every test of reading opt-outs has a desk: two served audiences and a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline_tests.new_ledger import put_new_ledger
from mc_pipeline_tests.opt_outs.desk import LIST, OTHER_LIST, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    put_new_ledger(tmp_path / "ledger.db")
    mailchimp = SandboxMailchimp()
    mailchimp.add_audience(LIST, "Retail")
    mailchimp.add_audience(OTHER_LIST, "Wholesale")
    with mailchimp.serve():
        desk = Desk(mailchimp, tmp_path)
        yield desk
        desk.close()
