"""Data sets of every modality: files, labels, parts, sampling, preprocessing, encoded examples."""
