"""Who holds leases and which runs are alive, in words; a lease of a dead run can be ended, no other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_pipeline.ledger import LeaseLostError, Ledger
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline_tests.cli.conftest import mc_pipeline

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def beat(run: str, *, ago: timedelta = timedelta()) -> None:
    """A run whose last heartbeat was so long ago."""
    with Ledger.open(clock=lambda: datetime.now(UTC) - ago) as ledger:
        ledger.runs.begin(run, company="acme", job="sync_company", owner="host:1")


def test_nothing_is_said_in_words() -> None:
    assert mc_pipeline("leases").output == "No run is in progress, and no lease is held.\n"
    assert mc_pipeline("leases", "--end", "acme").output == "Nobody holds a lease of acme.\n"


def test_leases_and_runs_are_listed_with_their_sign_of_life() -> None:
    beat("living")
    beat("silent", ago=HOUR)
    with (
        Ledger.open() as ledger,
        ledger.leases.hold("acme", "living", HOUR),
        ledger.leases.hold("acme", "silent", HOUR, path=OPT_OUTS),
        ledger.leases.hold("", "living", HOUR, path="hearing", list_id="retail1"),
    ):
        said = mc_pipeline("leases").output.splitlines()
    assert [line.partition(" since")[0] for line in said[:3]] == [
        "The lease of acme for changes is held by run living",
        "The lease of acme for opt-outs is held by run silent",
        "The lease of reading audience retail1 for opt-outs is held by run living",
    ]
    assert ["it is alive" in line for line in said] == [True, False, True, False, True]
    assert ["it is dead" in line for line in said] == [False, True, False, True, False]
    assert said[4].startswith("Run living (sync_company of acme, process host:1) started ")


def test_a_lease_of_a_dead_run_is_ended_and_what_that_run_writes_later_is_refused() -> None:
    beat("silent", ago=timedelta(minutes=4))
    with Ledger.open() as ledger, ledger.leases.hold("acme", "silent", HOUR) as lease:
        ended = mc_pipeline("leases", "--end", "acme")
        assert (ended.exit_code, ended.in_one_line) == (
            0,
            "The lease of acme for changes is ended; run silent had it.",
        )
        with ledger.leases.hold("acme", "next", HOUR), pytest.raises(LeaseLostError):
            lease.renew()


@pytest.mark.parametrize("known", [True, False])
def test_a_lease_of_a_run_that_may_be_alive_is_kept_with_what_to_do(known: bool) -> None:
    if known:
        beat("living")
    with Ledger.open() as ledger, ledger.leases.hold("acme", "living", HOUR) as lease:
        refused = mc_pipeline("leases", "--end", "acme")
        lease.renew()
    assert refused.exit_code == 1
    assert "is not ended: run living was last alive" in refused.in_one_line
    assert "End that run first" in refused.in_one_line


def test_a_lease_of_a_run_that_ended_without_giving_it_back_is_ended() -> None:
    beat("ended")
    with Ledger.open() as ledger:
        ledger.runs.end("ended")
        with ledger.leases.hold("acme", "ended", HOUR):
            assert mc_pipeline("leases", "--end", "acme").exit_code == 0
            assert ledger.leases.current("acme") is None
