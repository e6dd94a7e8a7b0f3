"""Group ``status``: what is open in a company, and whether its run was a success."""
