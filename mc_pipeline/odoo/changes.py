"""Reading only what changed since an earlier read, and losing nothing by it.

An earlier read is kept as a ``Snapshot``: the records exactly as Odoo gave them. A later read lists all ids
again (cheap: new, deleted and hidden records show there), reads again what may have changed, and takes the
rest from the snapshot. What may have changed:

- records whose ``write_date`` is later than the start of the earlier read less an overlap: ``write_date`` is
  when a transaction began, so a long one shows rows late that look old. ``>=`` and not ``>``, because Odoo
  shows whole seconds and versions differ in how they compare them. Records without ``write_date`` too;
- records whose linked record changed so (``bumped_by``): a parent's name is kept on its contacts;
- records that the reader of a table names (``stale``): Odoo changes some fields without touching
  ``write_date`` (merges, tags linked from the tag, ranks counted by SQL).

Where and how snapshots are kept is not decided here.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mc_pipeline.odoo.client import Domain, OdooClient, Record
from mc_pipeline.odoo.paging import PagedRead, read_all
from mc_pipeline.odoo.reading import joined, now

OVERLAP = timedelta(minutes=15)
"""Longer than the longest transaction: workers of Odoo are stopped after 15 minutes at most by default."""
CLOCKS_DIFFER_BY = timedelta(hours=1)
"""How far this machine's clock may run ahead of Odoo's without anything being missed."""
WHOLE_READ_EVERY = timedelta(hours=24)
"""An earlier read that rests on a whole read older than this is not built upon."""

_FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """All records of one model that a table needed, by id.

    ``observed_at`` and ``whole_at`` (UTC): when the read began, and when the last read of everything that it
    rests on began. ``asked`` is a digest of what was asked of whom.
    """

    records: Mapping[int, Record]
    observed_at: datetime
    whole_at: datetime
    asked: str

    @property
    def changes_since(self) -> datetime:
        """From when on a change may be missing in the snapshot, by Odoo's clock.

        The newest ``write_date`` seen is a moment that Odoo's clock had reached, whatever this machine's
        clock says.
        """
        newest = max((str(record.get("write_date") or "") for record in self.records.values()), default="")
        reached = datetime.fromisoformat(newest).replace(tzinfo=UTC) if newest else self.observed_at
        return min(self.observed_at, max(reached, self.observed_at - CLOCKS_DIFFER_BY)) - OVERLAP


Stale = Callable[[Mapping[int, Record], Sequence[int], datetime], Set[int]]
"""Names records that changed without a trace in ``write_date``: given the records known from the snapshot,
the ids that Odoo lists now, and the start of the window of changes."""


class Reading:
    """How the large models of one table are read in one run; by default whole.

    ``earlier`` gives the snapshot of a model, or None; without it everything is read. ``source`` says which
    server, database and user are read: a snapshot of another one is not used. Afterwards ``snapshots`` holds
    a snapshot of each model that was read completely, and ``notes`` say how each was read.
    """

    def __init__(self, earlier: Callable[[str], Snapshot | None] | None = None, *, source: str = "") -> None:
        self._earlier = earlier
        self._source = source
        self.snapshots: dict[str, Snapshot] = {}
        self.notes: list[str] = []

    def read(
        self,
        client: OdooClient,
        model: str,
        domains: Sequence[Domain],
        fields: Sequence[str],
        *,
        bumped_by: Sequence[str] = (),
        stale: Stale | None = None,
    ) -> PagedRead:
        """Read the records that match any of the domains, which exclude each other.

        The answer is what reading everything gives. Raises as ``read_all`` does.
        """
        observed_at = now()
        asked = self._digest(client, model, fields)
        base, because = self._base(client, model, fields, asked, observed_at)
        whole_at = observed_at if base is None else base.whole_at
        reused = 0
        reads: list[PagedRead] = []
        for domain in domains:
            if base is None:
                reads.append(read_all(client, model, domain, fields))
                continue
            unchanged = _Unchanged(client, model, domain, base, bumped_by, stale)
            reads.append(read_all(client, model, domain, fields, unchanged=unchanged))
            reused += unchanged.count
        records = [record for each in reads for record in each.records]
        incomplete = joined(each.incomplete_because for each in reads)
        if not incomplete:
            by_id = {record["id"]: record for record in records}
            self.snapshots[model] = Snapshot(by_id, observed_at, whole_at, asked)
        self.notes.append(_note(model, len(records), reused, base, because))
        return PagedRead(records, not incomplete, incomplete)

    def _base(
        self, client: OdooClient, model: str, fields: Sequence[str], asked: str, observed_at: datetime
    ) -> tuple[Snapshot | None, str]:
        """The snapshot to build upon; without one, why not."""
        if self._earlier is None:
            return None, ""
        computed = sorted(name for name in fields if not client.fields_get(model)[name].get("store", True))
        if computed:
            return None, f"Odoo computes {', '.join(computed)} again, so its changes leave no date"
        base = self._earlier(model)
        if base is None:
            return None, "no earlier complete read is stored"
        if base.asked != asked:
            return None, "the earlier read asked for other fields, companies, user or server"
        if not timedelta(0) <= observed_at - base.whole_at < WHOLE_READ_EVERY:
            return None, f"the last complete read is from {base.whole_at:%Y-%m-%d %H:%M} UTC"
        return base, ""

    def _digest(self, client: OdooClient, model: str, fields: Sequence[str]) -> str:
        asked = [
            _FORMAT, self._source, client.address, client.version, client.company_ids, model, sorted(fields),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def changed_since(moment: datetime, *, bumped_by: Sequence[str] = ()) -> list[object]:
    """A domain: written at or after the moment, or without any date, or linked to a record written then."""
    since = odoo_time(moment)
    leaves: list[object] = [("write_date", ">=", since), ("write_date", "=", False)]
    leaves += [(f"{link}.write_date", ">=", since) for link in bumped_by]
    return [*(["|"] * (len(leaves) - 1)), *leaves]


def odoo_time(moment: datetime) -> str:
    """A moment as Odoo's domains have it: UTC, whole seconds, never later than the moment."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class _Unchanged:
    """Says to ``read_all`` which of the listed records it need not read; ``count`` of them, afterwards."""

    def __init__(
        self,
        client: OdooClient,
        model: str,
        domain: Domain,
        base: Snapshot,
        bumped_by: Sequence[str],
        stale: Stale | None,
    ) -> None:
        self._client, self._model, self._domain = client, model, domain
        self._base, self._bumped_by, self._stale = base, bumped_by, stale
        self.count = 0

    def __call__(self, listed: Sequence[int]) -> dict[int, Record]:
        since = self._base.changes_since
        window = changed_since(since, bumped_by=self._bumped_by)
        again: set[int] = set(self._client.search(self._model, [*self._domain, *window], order="id"))
        if self._stale is not None:
            again |= self._stale(self._base.records, listed, since)
        known = self._base.records
        unchanged = {
            record_id: known[record_id]
            for record_id in listed
            if record_id in known and record_id not in again
        }
        self.count = len(unchanged)
        return unchanged


def _note(model: str, records: int, reused: int, base: Snapshot | None, because: str) -> str:
    if base is None:
        return f"{model}: all {records:,} records were read" + (f", because {because}" if because else "")
    return (
        f"{model}: {records - reused:,} of {records:,} records were read again, the others are as read since "
        f"{base.whole_at:%Y-%m-%d %H:%M} UTC"
    )
