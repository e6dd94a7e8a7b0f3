"""Marks of tax ids: enough to see that one changed, too little to reveal it."""

import hashlib
import re

_NONE = frozenset({"", "NA"})
"""Void in Odoo from 19.1 on: nothing, "/", "na" and "NA" (base/models/res_partner.py)."""


def tax_id_mark(partner_id: int, tax_id: str | bool | None) -> str:
    """Make the mark of a partner's tax id; "" for none.

    It is short, so that very many tax ids have the same: the tax id of a private person is personal data.
    Spaces, punctuation and small letters make no difference, since Odoo may write tax ids in another form
    after its upgrade.
    """
    plain = re.sub(r"[^0-9A-Z]", "", str(tax_id or "").upper())
    if plain in _NONE:
        return ""
    return hashlib.sha256(f"{partner_id} {plain}".encode()).hexdigest()[:6]
