"""The path of the opt-outs: hear each audience and Odoo by itself, carry each address by itself (rule 7.5).

Nothing here reads the partners or the members as a whole, and what cannot be heard or carried stops nothing
else: it is named, and the next run goes on from the ledger.
"""
