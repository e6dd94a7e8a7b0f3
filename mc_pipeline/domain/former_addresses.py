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
    known = records.loc[records["partner_id"].notna(), ["email", "partner_id"]]
    present = partners.set_index("partner_id")["email_normalized"]
    now = known["partner_id"].astype("int64").map(present)
    changed = now.notna() & (now != known["email"])
    former, now = known.loc[changed, "email"], now[changed]
    inheriting: Set[str] = frozenset()
    # Who inherits has opted out as well, and may be another partner's former address: until nobody is added.
    while True:
        more = inheriting | set(now[former.isin(opted_out | inheriting)])
        if more == inheriting:
            return inheriting
        inheriting = more
