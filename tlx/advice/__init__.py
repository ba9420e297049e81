"""What a training would cost, and what to expect of it."""
