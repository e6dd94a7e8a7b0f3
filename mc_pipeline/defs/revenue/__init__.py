"""Assets of the group ``revenue``: what customers kept, by Odoo, by Mailchimp and in the general ledger."""
