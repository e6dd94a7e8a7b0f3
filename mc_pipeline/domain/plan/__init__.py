"""The plan of an audience: how its members differ from its contacts, and what of it waits (rules 6 and 7)."""
