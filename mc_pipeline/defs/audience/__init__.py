"""The audiences as they are, as they should be, the difference as a plan, and the plan applied."""
