"""Who may be mailed: evidence of consent, opt-outs in both directions, and their history (rules 4 and 5)."""
