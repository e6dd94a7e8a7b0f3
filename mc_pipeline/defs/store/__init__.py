"""Assets of the group ``store``: what the stores of the audiences should hold, and the outcome."""
