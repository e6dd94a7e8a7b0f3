"""Keeps people who were erased out of everything that a run reads (rule 10.1)."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from mc_pipeline.domain.errors import RuleError
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.erasures import Tombstone
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.erasing import ABOUT_PARTNERS

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.domain.erasure import Pseudonyms

ERASURE_KEY_VARIABLE = "MC_PIPELINE_ERASURE_KEY"

_ADDRESS_COLUMNS = ("email_normalized", "email")
_EVIDENCE = {"partner_id", "email_normalized", "evidence_json"}


def erasure_pseudonyms() -> "Pseudonyms":
    """Make the pseudonyms of the key in the environment.

    Raises:
        SyncError: ``MC_PIPELINE_ERASURE_KEY`` is not set, or too short to protect anybody.
    """
    from mc_pipeline.domain.erasure import SHORTEST_KEY, Pseudonyms

    key = os.environ.get(ERASURE_KEY_VARIABLE, "")
    if not key:
        raise SyncError(
            f"{ERASURE_KEY_VARIABLE} is not set: set it to a secret of at least {SHORTEST_KEY} characters, "
            "the same on every machine, and never change it: without it erased people are not recognised",
            allow_retries=False,
        )
    try:
        return Pseudonyms(key)
    except RuleError as error:
        raise SyncError(f"{ERASURE_KEY_VARIABLE}: {error}", allow_retries=False) from None


class ErasedPeople:
    """Everybody who was erased until a moment, by pseudonym and by partner."""

    def __init__(self, pseudonyms: "Pseudonyms | None", tombstones: Sequence[Tombstone]) -> None:
        self._pseudonyms = pseudonyms
        self._erased = frozenset(tombstone.pseudonym for tombstone in tombstones)
        self.erased_at: dict[int, datetime] = {}
        for tombstone in tombstones:
            for partner in tombstone.partner_ids:
                known = self.erased_at.get(partner, tombstone.requested_at)
                self.erased_at[partner] = max(known, tombstone.requested_at)
        # An address is looked for in many tables of a run, and hashing is what it costs.
        self._looked_up: dict[str, bool] = {}

    @property
    def count(self) -> int:
        """How many addresses were erased."""
        return len(self._erased)

    @property
    def partner_ids(self) -> frozenset[int]:
        """The partners in Odoo who had these addresses."""
        return frozenset(self.erased_at)

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """Load the tombstones; without any, no key is needed.

        Raises:
            SyncError: the key is missing, or is another one than the tombstones were made with.
        """
        tombstones = ledger.erasures.tombstones()
        if not tombstones:
            return cls(None, ())
        pseudonyms = erasure_pseudonyms()
        if any(tombstone.key_id != pseudonyms.key_id for tombstone in tombstones):
            raise SyncError(
                f"{ERASURE_KEY_VARIABLE} is not the key that people were erased with: with another key "
                "they would not be recognised, and would be sent to Mailchimp again. Set the former key.",
                allow_retries=False,
            )
        return cls(pseudonyms, tombstones)

    def includes(self, email: str) -> bool:
        """Whether this address was erased."""
        if self._pseudonyms is None:
            return False
        known = self._looked_up.get(email)
        if known is None:
            known = self._looked_up[email] = self._pseudonyms.of(email) in self._erased
        return known

    def pseudonym_of(self, email: str) -> str | None:
        """What the ledger knows an erased person by; None for everybody else."""
        if self._pseudonyms is None or not self.includes(email):
            return None
        return self._pseudonyms.of(email)

    def without(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Drop the rows whose address is an erased one; a partner stays when it has another address now."""
        return self.split(rows)[0]

    def split(self, rows: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]":
        """The rows of everybody else, and those whose address is an erased one."""
        import pandas as pd

        columns = [column for column in _ADDRESS_COLUMNS if column in rows.columns]
        if self._pseudonyms is None or not columns or rows.empty:
            return rows, rows.iloc[:0]
        gone = pd.Series(False, index=rows.index)
        for column in columns:
            gone |= rows[column].map(lambda each: isinstance(each, str) and self.includes(each)).astype(bool)
        return rows[~gone].reset_index(drop=True), rows[gone].reset_index(drop=True)

    def left_out_of(self, name: str, table: Table) -> Table:
        """The table called ``name`` as it is without them, whether it is being stored or loaded.

        A row is removed if a text of it contains an erased address, or when the table was read before its
        partner was erased: then the partner may have had another address. Later the partner stays, with
        another address and without evidence of consent from before. An order stays as one of somebody erased.
        """
        if self._pseudonyms is None or table.rows.empty:
            return table
        rows = table.rows
        gone = self._rows_about_them(name, rows, table.observed_at)
        if name == schemas.STORE_ORDERS.name:
            rows = _as_of_somebody_erased(rows, gone) if gone.any() else rows
        elif gone.any():
            rows = rows[~gone].reset_index(drop=True)
        if name == schemas.ODOO_PARTNERS.name and set(rows.columns) >= _EVIDENCE:
            from mc_pipeline.domain.erasure import without_evidence_of_before

            rows = without_evidence_of_before(rows, self.erased_at)
        return table if rows is table.rows else replace(table, rows=rows)

    def _rows_about_them(self, name: str, rows: "pd.DataFrame", observed_at: datetime) -> "pd.Series":
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        gone = pd.Series(False, index=rows.index)
        columns = schemas.ALL[name].columns if name in schemas.ALL else schemas.ODOO_RECORDS.columns
        for column in columns:
            if column.type != schemas.TEXT or column.name not in rows.columns:
                continue
            texts = pa.Array.from_pandas(rows[column.name], type=pa.string())
            holds = pc.fill_null(pc.match_substring(texts, "@"), False).to_numpy(zero_copy_only=False)
            if holds.any():
                texts_held = rows.loc[holds, column.name]
                theirs = [text for text in texts_held.unique() if self._is_named_in(text)]
                gone.loc[holds] |= texts_held.isin(theirs)
        if name in ABOUT_PARTNERS and "partner_id" in rows.columns and self.erased_at:
            just_now = {partner for partner, at in self.erased_at.items() if at >= observed_at}
            gone |= rows["partner_id"].isin(just_now).fillna(False).astype(bool)
        return gone

    def _is_named_in(self, text: Any) -> bool:
        from mc_pipeline.domain.erasure import addresses_in

        return isinstance(text, str) and any(map(self.includes, addresses_in(text)))


def _as_of_somebody_erased(orders: "pd.DataFrame", theirs: "pd.Series") -> "pd.DataFrame":
    """Keep the orders, which are revenue, as those of somebody who was erased: due in no store."""
    from mc_pipeline.domain.store.orders import ERASED, EXCLUDED

    values = {
        "email": None,
        "audience": None,
        "list_id": None,
        "store_id": None,
        "excluded_because": ERASED,
        "excluded_detail": EXCLUDED[ERASED],
    }
    columns = {name: orders[name].mask(theirs, value) for name, value in values.items() if name in orders}
    return orders.assign(**columns)
