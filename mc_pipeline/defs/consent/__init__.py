"""Opt-outs, first and everywhere: applied before anything else is written."""
