"""The path of the opt-outs: reads each audience and Odoo separately, applies each address separately (rule
7.5).

Nothing here reads the partners or the members as a whole, and what cannot be read or applied stops nothing
else: it is named, and the next run continues from the ledger.
"""
