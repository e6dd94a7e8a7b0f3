"""Clients against stand-in servers; pauses between attempts are recorded, not slept."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.retry import RetryPolicy
from mc_pipeline.sandbox.mailchimp.server import SandboxMailchimp

API_KEY = "0123456789abcdef0123456789abcdef-us7"


class Pauses(list[float]):
    def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def connect(pauses: Pauses) -> Iterator[Callable[..., MailchimpClient]]:
    """Make clients for a server's url; closed after the test."""
    with ExitStack() as stack:

        def make(url: str, *, attempts: int = 4, **arguments: Any) -> MailchimpClient:
            arguments.setdefault("retry", RetryPolicy(attempts=attempts, sleep=pauses.sleep))
            arguments.setdefault("timeout", (5, 20))
            client = MailchimpClient("main", API_KEY, base_url=url, **arguments)
            return stack.enter_context(client)

        yield make


LIST = "1a2b3c4d5e"


@pytest.fixture
def sandbox() -> Iterator[SandboxMailchimp]:
    """Mailchimp as a whole, with one audience."""
    sandbox = SandboxMailchimp({"main": API_KEY})
    sandbox.add_audience(LIST, "Customers")
    with sandbox.serve() as served:
        yield served


@pytest.fixture
def client(sandbox: SandboxMailchimp, connect: Callable[..., MailchimpClient]) -> MailchimpClient:
    return connect(sandbox.api_url)
