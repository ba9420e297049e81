"""The controls of a study: strategies that say where a gain comes from, and are no way of transferring themselves."""

CONTROLS = ("scratch_long", "random_features", "shuffled")
