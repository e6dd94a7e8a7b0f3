"""The plan of an audience: the difference between its members and its contacts, and what of it waits (rules 6 and 7)."""
