"""Checks that the settings fit the two systems, without changing anything in them.

``findings`` says what a check is and gives, ``subjects`` what it is made of; the checks are in the modules
named ``*_checks``; ``checkup`` runs them. To add one, write a small generator of findings there and name it
in the tuple at that module's end. How findings are shown belongs to the command line.
"""
