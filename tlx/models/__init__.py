"""Backbones: vision, text, speech, any module; how weights get into them."""
