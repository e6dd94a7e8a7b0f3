"""Odoo with only a few records of each model: the pipeline's own reads, in a moment.

What is read, and with which rights and modules, is then exactly what a sync reads.
"""

from collections.abc import Sequence
from typing import Any

from mc_pipeline.odoo.client import Domain, Fields, OdooClient, Record, TransportName

SAMPLE = 20


class FewRecords:
    """An ``OdooClient`` whose searches end after ``SAMPLE`` records; all else goes to the real client."""

    def __init__(self, client: OdooClient) -> None:
        self._client = client

    @property
    def version(self) -> tuple[int, int]:
        return self._client.version

    @property
    def address(self) -> str:
        return self._client.address

    @property
    def transport(self) -> TransportName:
        return self._client.transport

    @property
    def transport_note(self) -> str:
        return self._client.transport_note

    @property
    def company_ids(self) -> tuple[int, ...]:
        return self._client.company_ids

    @property
    def user_company_ids(self) -> tuple[int, ...]:
        return self._client.user_company_ids

    @property
    def archived_company_ids(self) -> tuple[int, ...]:
        return self._client.archived_company_ids

    @property
    def user_id(self) -> int:
        return self._client.user_id

    def with_companies(self, company_ids: Sequence[int]) -> "FewRecords":
        return FewRecords(self._client.with_companies(company_ids))

    def execute(self, model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._client.execute(model, method, *args, **kwargs)

    def search(
        self,
        model: str,
        domain: Domain,
        *,
        limit: int | None = None,
        order: str | None = None,
        offset: int = 0,
    ) -> list[int]:
        return self._client.search(
            model, domain, limit=min(limit or SAMPLE, SAMPLE), order=order, offset=offset
        )

    def search_count(self, model: str, domain: Domain) -> int:
        return min(self._client.search_count(model, domain), SAMPLE)

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        limit: int | None = None,
        order: str | None = None,
        offset: int = 0,
    ) -> list[Record]:
        return self._client.search_read(model, domain, fields, limit=limit, order=order, offset=offset)

    def read(self, model: str, ids: Sequence[int], fields: Sequence[str]) -> list[Record]:
        return self._client.read(model, ids, fields)

    def fields_get(self, model: str) -> Fields:
        return self._client.fields_get(model)

    def has_group(self, group: str) -> bool:
        return self._client.has_group(group)

    def close(self) -> None:
        self._client.close()
