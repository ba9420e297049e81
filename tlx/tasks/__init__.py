"""Head, loss, metrics and meter of a task."""
