"""Odoo's kept revenue beside Mailchimp's stores and beside the general ledger (rule 8.5)."""
