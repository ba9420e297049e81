"""What each yaml of a group must do: the checks of tests/contracts over configs/, and of `tlx check` over yours."""
