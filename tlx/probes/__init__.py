"""Heads trained on what a frozen backbone makes of the examples: without the network, and many at once."""
