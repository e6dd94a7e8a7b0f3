"""One served stand-in for all tests here, emptied before each; the official client in front of it.

After each test its journal is held against the API's contract. A test that sends on purpose what the contract
does not have is marked ``off_contract``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import mailchimp_marketing
import pytest

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.times import SandboxClock
from mc_pipeline_tests.sandbox.mailchimp.contract import ApiContract

LIST = "a1b2c3d4e5"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def client_of(sandbox: SandboxMailchimp, api_key: str = DEFAULT_KEY) -> mailchimp_marketing.Client:
    """The official Python client, pointed at the stand-in."""
    client = mailchimp_marketing.Client({"api_key": api_key})
    client.api_client.host = sandbox.api_url
    return client


@pytest.fixture(scope="session")
def _served() -> Iterator[tuple[SandboxMailchimp, bytes]]:
    sandbox = SandboxMailchimp(keep_responses=True)
    with sandbox.serve():
        yield sandbox, sandbox.snapshot()


@pytest.fixture(scope="session")
def contract_of_the_api() -> ApiContract:
    return ApiContract.load()


@pytest.fixture
def sandbox(
    _served: tuple[SandboxMailchimp, bytes],
    contract_of_the_api: ApiContract,
    request: pytest.FixtureRequest,
) -> Iterator[SandboxMailchimp]:
    """A stand-in with one empty audience, at nine o'clock on a Monday, its clock standing still."""
    served, empty = _served
    served.restore(empty)
    served.state.clock = served.journal.clock = SandboxClock(frozen_at=START)
    served.resume_batches()
    served.faults.clear()
    served.faults.fired.clear()
    served.latency.seconds = 0
    served.journal.clear()
    served.add_audience(LIST, "Retail")
    yield served
    if not request.node.get_closest_marker("off_contract"):
        assert contract_of_the_api.check(served.journal.requests) == []


@pytest.fixture
def client(sandbox: SandboxMailchimp) -> Any:
    """The official Python client."""
    return client_of(sandbox)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of tests that go outside the contract."""
    config.addinivalue_line("markers", "off_contract: sends on purpose what the API's contract does not have")
