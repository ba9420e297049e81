"""Pretrained backbones on disk and their cards; where weights come from."""
