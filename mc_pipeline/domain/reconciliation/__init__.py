"""Odoo's kept revenue compared with Mailchimp's stores and with the general ledger (rule 8.5)."""
