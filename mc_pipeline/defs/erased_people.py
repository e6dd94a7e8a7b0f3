"""Keeps people who were erased out of everything that a run reads (rule 10.1)."""

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self

import dagster as dg

from mc_pipeline.domain.errors import RuleError

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.domain.erasure import Pseudonyms
    from mc_pipeline.ledger import Ledger

ERASURE_KEY_VARIABLE = "MC_PIPELINE_ERASURE_KEY"

_ADDRESS_COLUMNS = ("email_normalized", "email")


def erasure_pseudonyms() -> "Pseudonyms":
    """Make the pseudonyms of the key in the environment.

    Raises:
        dagster.Failure: ``MC_PIPELINE_ERASURE_KEY`` is not set, or too short to protect anybody.
    """
    from mc_pipeline.domain.erasure import SHORTEST_KEY, Pseudonyms

    key = os.environ.get(ERASURE_KEY_VARIABLE, "")
    if not key:
        raise dg.Failure(
            f"{ERASURE_KEY_VARIABLE} is not set: set it to a secret of at least {SHORTEST_KEY} characters, "
            "the same on every machine and for ever; by it alone is an erased person still recognised",
            allow_retries=False,
        )
    try:
        return Pseudonyms(key)
    except RuleError as error:
        raise dg.Failure(f"{ERASURE_KEY_VARIABLE}: {error}", allow_retries=False) from None


class ErasedPeople:
    """Everybody who was erased before the run began, by pseudonym and by partner."""

    def __init__(
        self, pseudonyms: "Pseudonyms | None", erased: Collection[str], partner_ids: Collection[int]
    ) -> None:
        self._pseudonyms = pseudonyms
        self._erased = frozenset(erased)
        self.partner_ids = frozenset(partner_ids)

    @property
    def count(self) -> int:
        """How many addresses were erased."""
        return len(self._erased)

    @classmethod
    def of(cls, ledger: "Ledger") -> Self:
        """Load the tombstones; without any, no key is needed.

        Raises:
            dagster.Failure: the key is missing, or is another one than the tombstones were made with.
        """
        tombstones = ledger.erasures.tombstones()
        if not tombstones:
            return cls(None, (), ())
        pseudonyms = erasure_pseudonyms()
        if any(tombstone.key_id != pseudonyms.key_id for tombstone in tombstones):
            raise dg.Failure(
                f"{ERASURE_KEY_VARIABLE} is not the key that people were erased with: without that one they "
                "would not be recognised and be sent to Mailchimp again. Set the former key.",
                allow_retries=False,
            )
        return cls(
            pseudonyms,
            [tombstone.pseudonym for tombstone in tombstones],
            [partner for tombstone in tombstones for partner in tombstone.partner_ids],
        )

    def without(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Drop the rows whose address is an erased one; a partner stays when it has another address now."""
        columns = [column for column in _ADDRESS_COLUMNS if column in rows.columns]
        if self._pseudonyms is None or not columns or rows.empty:
            return rows
        gone = self._pseudonyms.erased(rows[columns[0]], self._erased)
        for column in columns[1:]:
            gone |= self._pseudonyms.erased(rows[column], self._erased)
        return rows[~gone].reset_index(drop=True)

    def is_about(self, record: Mapping[str, Any]) -> bool:
        """Whether one of the texts of a record, as Odoo gave it, is an erased address."""
        if self._pseudonyms is None:
            return False
        addresses = (value for value in record.values() if isinstance(value, str) and "@" in value)
        return any(self._pseudonyms.of(address) in self._erased for address in addresses)

    def includes(self, email: str) -> bool:
        """Whether this address was erased."""
        return self._pseudonyms is not None and self._pseudonyms.of(email) in self._erased
