"""Speaking Odoo: one client, complete paging, and the tables that are read from it.

Belongs here: the connection to Odoo (JSON-RPC over odoorpc), its errors, and functions that turn Odoo's
records into the columns the pipeline works with. Does not belong here: any decision about who is a
customer or what is sent to Mailchimp (``domain``), and anything about Dagster or Parquet files.
"""
