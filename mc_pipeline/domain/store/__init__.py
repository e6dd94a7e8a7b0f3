"""What Mailchimp's stores should hold: orders, their lines and products, and what to write for it (rules 9)."""
