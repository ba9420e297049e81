"""Further numbers of a run, and its scores before and after the training, on the source task too."""
