"""What is kept of each order, after credit notes and cancellations (rules 8)."""
