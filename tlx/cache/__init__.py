"""Frozen work done once: what frozen layers make of an example is kept on disk, checked, and played back."""
