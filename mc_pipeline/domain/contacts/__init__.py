"""From Odoo's partners to contacts: who they are, in which audience, with which fields (rules 2, 3 and 6)."""
