"""Rule 6.3: whoever opted out under a former address has opted out under the present one too."""

from collections.abc import Set

import pandas as pd


def addresses_inheriting_opt_outs(
    records: pd.DataFrame, partners: pd.DataFrame, opted_out: Set[str]
) -> Set[str]:
    """Return the present addresses of partners whom we knew under an address that opted out.

    Args:
        records: the ledger's records of members (``email``, ``partner_id``).
        partners: the odoo_partners table (``partner_id``, ``email_normalized``).
        opted_out: addresses that opted out anywhere, in Mailchimp or in Odoo.
    """
    known = records[records["partner_id"].notna() & records["email"].isin(opted_out)]
    present = partners.set_index("partner_id")["email_normalized"]
    now = known["partner_id"].astype("int64").map(present)
    changed = now.notna() & (now != known["email"])
    return frozenset(now[changed])
