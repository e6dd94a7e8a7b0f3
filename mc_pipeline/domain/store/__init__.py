"""What Mailchimp's stores should hold: orders, lines and products, and what to write for it (rules 9)."""
