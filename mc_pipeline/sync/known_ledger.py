"""Whether the ledger is the one that the stored tables were made with.

Without its history the ledger would not know who opted out, withdrew consent or was asked already. So a new,
another or an older one beside full tables writes nothing but opt-outs, until a person restores the correct
one or accepts this one. Opt-outs continue (RULES 5.1): with any ledger they only restrict. A row of Odoo's
blacklist is removed only if the ledger knows that the pipeline made it, and what is read for the first time
waits for a person.
"""

from mc_pipeline.ledger import Ledger
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.tables.mark import UNKNOWN, TablesMark, has_tables, read_mark, write_mark

ACCEPT = "mc-pipeline ledger accept"


def note_tables_of_before(ledger: Ledger) -> None:
    """Remember that the tables are another ledger's, before this new one knows anything."""
    if read_mark() is None and ledger.identities.is_blank() and has_tables():
        write_mark(UNKNOWN)


def why_not_this_ledger(ledger: Ledger) -> str:
    """Say how the ledger differs from the one that the tables were made with; empty: it does not."""
    mark = read_mark()
    if mark is None:
        return ""
    own = ledger.identities.get()
    if own.ledger_id != mark.ledger_id:
        return (
            "is not the one that the stored tables were made with: it is new, or the wrong ledger is "
            "configured"
        )
    if own.count < mark.count:
        return "is older than the stored tables: an earlier copy was restored"
    return ""


def what_to_do(ledger: Ledger) -> str:
    """Say what is wrong with the ledger and what a person does about it, in one sentence; empty: nothing."""
    because = why_not_this_ledger(ledger)
    if not because:
        return ""
    return (
        f"The ledger at {ledger.location} {because}, so only opt-outs are applied and nothing else is "
        "written: restore the correct ledger (README, Backing up), or, if its contents are lost "
        f"permanently, accept this one with: {ACCEPT}"
    )


def refuse_another_ledger(ledger: Ledger) -> None:
    """Stop a step that writes, or plans writes.

    Raises:
        SyncError: the ledger is not the one that the tables were made with.
    """
    if sentence := what_to_do(ledger):
        raise SyncError(sentence, allow_retries=False)


def mark_tables(ledger: Ledger) -> None:
    """Note beside the tables how far the ledger has come, unless they are another ledger's."""
    if not why_not_this_ledger(ledger):
        own = ledger.identities.advance()
        write_mark(TablesMark(own.ledger_id, own.count))


def accept(ledger: Ledger, *, by: str, reason: str) -> None:
    """Let this ledger take the place of the one that the tables were made with.

    From now on only consent that is newer subscribes anybody: of older consent nobody knows any more whether
    it was used, withdrawn or overruled.
    """
    mark = read_mark() or UNKNOWN
    own = ledger.identities.accept(mark.count, by=by, reason=reason)
    write_mark(TablesMark(own.ledger_id, own.count))
