"""Reading all records that match a domain, losing none while people change them.

Offsets shift when rows come and go, and neither ``write_date`` nor ``id`` grows in the order in which rows
become visible (a long transaction shows its low ids late). So the ids are listed first, frozen, and read by
id in pages; afterwards the ids are listed and counted again. The read is complete when every id that Odoo
then lists and counts was read. Rows that appeared meanwhile are read too; rows that are gone by then
(deleted, or no longer matching) are left out.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mc_pipeline.chunks import chunks_of
from mc_pipeline.odoo.client import Domain, OdooClient, Record
from mc_pipeline.odoo.errors import OdooAccessError

_ROUNDS = 3


@dataclass(frozen=True)
class PagedRead:
    """Records in the order of their ids. ``incomplete_because`` says what may be missing, and why."""

    records: list[Record]
    complete: bool
    incomplete_because: str


def read_all(
    client: OdooClient,
    model: str,
    domain: Domain,
    fields: Sequence[str],
    *,
    page_size: int = 1000,
    connections: int = 3,
    unchanged: Callable[[Sequence[int]], Mapping[int, Record]] | None = None,
) -> PagedRead:
    """Read the fields of all records that match, archived ones included, many2one as bare ids.

    ``connections`` pages are read at the same time. ``unchanged`` gives, for the ids that Odoo lists at the
    start, the records that are known and need not be read. Raises OdooAccessError when the model may not be
    read at all; rows that Odoo lists but does not let the user read make the result incomplete.
    """
    wanted, miscounted = _listed_ids(client, model, domain)
    read: dict[int, Record] = dict(unchanged(wanted)) if unchanged else {}
    asked: set[int] = set()
    withheld: set[int] = set()
    pending = [record_id for record_id in wanted if record_id not in read]
    for _ in range(_ROUNDS):
        asked.update(pending)
        for page, refused in _pages(client, model, pending, fields, page_size, connections):
            read.update((record["id"], record) for record in page)
            withheld.update(refused)
        wanted, miscounted = _listed_ids(client, model, domain)
        pending = [record_id for record_id in wanted if record_id not in read]
        if not pending:
            break
    withheld.update(record_id for record_id in pending if record_id in asked)
    withheld.difference_update(read)
    reasons = [miscounted] if miscounted else []
    if withheld:
        reasons.append(
            f"Odoo lists {len(withheld)} {model} records that its user may not read (record rules): "
            "give the user the rights to read them all"
        )
    records = [read[record_id] for record_id in wanted if record_id in read]
    return PagedRead(records, not reasons, "; ".join(reasons))


def _listed_ids(client: OdooClient, model: str, domain: Domain) -> tuple[list[int], str]:
    """All matching ids, and what is wrong when Odoo keeps counting another number than it lists."""
    for _ in range(_ROUNDS):
        found = client.search(model, domain, order="id")
        counted = client.search_count(model, domain)
        if len(found) == len(set(found)) == counted:
            return found, ""
    return found, f"Odoo counts {counted} {model} records and lists {len(found)}"


def _pages(
    client: OdooClient,
    model: str,
    record_ids: Sequence[int],
    fields: Sequence[str],
    page_size: int,
    connections: int,
) -> list[tuple[list[Record], set[int]]]:
    pages = list(chunks_of(page_size, record_ids))
    if connections <= 1 or len(pages) <= 1:
        return [_page(client, model, page, fields) for page in pages]
    executor = ThreadPoolExecutor(max_workers=connections, thread_name_prefix="odoo-read")
    wait = True
    try:
        return list(executor.map(lambda page: _page(client, model, page, fields), pages))
    except BaseException as error:
        wait = isinstance(error, Exception)
        raise
    finally:
        # A failed page or an interrupted run starts no further page; running ones end by their timeout, for
        # which somebody who interrupts does not wait.
        executor.shutdown(wait=wait, cancel_futures=True)


def _page(
    client: OdooClient, model: str, record_ids: Sequence[int], fields: Sequence[str]
) -> tuple[list[Record], set[int]]:
    """One page, and the ids that were refused.

    Odoo refuses the whole call for one record outside the user's companies or record rules; the others are
    then read alone, as often as further ones disappear meanwhile.
    """
    readable = list(record_ids)
    while True:
        try:
            page = client.read(model, readable, fields) if readable else []
        except OdooAccessError:
            visible = client.search(model, [("id", "in", readable)], order="id")
            if len(visible) == len(readable):
                raise
            readable = visible
        else:
            return page, set(record_ids) - set(readable)
