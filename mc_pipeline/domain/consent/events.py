"""What the rules read of an event of the consent history: a protocol, so that no rule imports the ledger."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from mc_pipeline.vocabulary import EventSource, Origin


class ConsentEventLike(Protocol):
    """Something that happened to a person's consent in an audience of Mailchimp, or in Odoo; times are UTC.

    event        an ``EventKind``, or a status of Mailchimp's that is new
    status_from, status_to   of the member; "" where the event is no change of status
    occurred_at  as its source says; ``seen_at``: when we learned of it
    """

    @property
    def company(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def list_id(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def origin(self) -> Origin: ...
    @property
    def status_from(self) -> str: ...
    @property
    def status_to(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def seen_at(self) -> datetime: ...
    @property
    def evidence(self) -> Mapping[str, Any] | None: ...
    @property
    def source(self) -> EventSource: ...
