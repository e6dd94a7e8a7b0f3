"""What is open in each company: what broke, what waits for a person, what was not looked at, and since when.

Every step reports what it found, all at once, and replaces what it reported in an earlier run. What is found
again keeps the time of its first report, so that it can be distinguished from what is new. Sentences hold no
personal data: the code that reports them masks addresses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import delete, select

from mc_pipeline.ledger.database import Database
from mc_pipeline.ledger.schema import trouble
from mc_pipeline.ledger.statements import insert_or_replace


class TroubleKind(StrEnum):
    """What a report means for the run."""

    BROKEN = "broken"
    """Something failed; the run ends as a failure (exit code 1)."""
    WAITS = "waits"
    """A person has to approve it; the run is a success (exit code 3)."""
    NOT_LOOKED_AT = "not_looked_at"
    """It depends on something that is broken or waits, and says which; no failure on its own."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that is open, as a step reports it.

    kind         broken, waits or not_looked_at
    part         what kind of place: audience, store, merge_field, tag, month, product, odoo, run, …
    place        which one, by its name in the settings or in the two systems
    code         a short constant name of the fault: what is found again has the same part, place and code
    sentence     what is wrong, in one sentence, without personal data
    what_to_do   what a person does about it, in one sentence; empty: it is retried automatically
    owner        who acts: data engineering, marketing ops or finance
    """

    kind: TroubleKind
    part: str
    place: str
    code: str
    sentence: str
    what_to_do: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class OpenTrouble:
    """A report as the ledger has it: by which step, of which run; first and last time (UTC)."""

    company: str
    step: str
    run_id: str
    since: datetime
    seen_at: datetime
    trouble: Trouble


class Troubles:
    """What is open in all companies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, company: str, step: str, run_id: str, found: Iterable[Trouble]) -> None:
        """Replace what this step reported for the company. Reported twice, the last report counts."""
        now = self._database.now()
        reported = {(each.part, each.place, each.code): each for each in found}
        of_step = (trouble.c.company == company) & (trouble.c.step == step)
        with self._database.write() as connection:
            known = {
                (row.part, row.place, row.code): row.since
                for row in connection.execute(
                    select(trouble.c.part, trouble.c.place, trouble.c.code, trouble.c.since).where(of_step)
                )
            }
            connection.execute(delete(trouble).where(of_step))
            insert_or_replace(
                connection,
                trouble,
                [
                    {
                        "company": company,
                        "step": step,
                        "part": each.part,
                        "place": each.place,
                        "code": each.code,
                        "kind": each.kind.value,
                        "sentence": each.sentence,
                        "what_to_do": each.what_to_do,
                        "owner": each.owner,
                        "run_id": run_id,
                        "since": known.get(key, now),
                        "seen_at": now,
                    }
                    for key, each in reported.items()
                ],
            )

    def open(self, company: str) -> list[OpenTrouble]:
        """Return what is open in a company, the oldest first."""
        query = (
            select(trouble)
            .where(trouble.c.company == company)
            .order_by(trouble.c.since, trouble.c.step, trouble.c.part, trouble.c.place, trouble.c.code)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            OpenTrouble(
                company=row["company"],
                step=row["step"],
                run_id=row["run_id"],
                since=row["since"],
                seen_at=row["seen_at"],
                trouble=Trouble(
                    kind=TroubleKind(row["kind"]),
                    part=row["part"],
                    place=row["place"],
                    code=row["code"],
                    sentence=row["sentence"],
                    what_to_do=row["what_to_do"],
                    owner=row["owner"],
                ),
            )
            for row in rows
        ]
