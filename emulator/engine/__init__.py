"""Choosing what answers a call: the compiled rules, the choice, and the account of it."""
