"""Every test of reading opt-outs has a desk: two served audiences and a ledger."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_pipeline.ledger import Ledger
from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline_tests.opt_outs.desk import LIST, OTHER_LIST, Desk


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger that has had its migrations, to copy."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def desk(tmp_path: Path, new_ledger: Path) -> Iterator[Desk]:
    shutil.copy(new_ledger, tmp_path / "ledger.db")
    mailchimp = SandboxMailchimp()
    mailchimp.add_audience(LIST, "Retail")
    mailchimp.add_audience(OTHER_LIST, "Wholesale")
    with mailchimp.serve():
        desk = Desk(mailchimp, tmp_path)
        yield desk
        desk.close()
