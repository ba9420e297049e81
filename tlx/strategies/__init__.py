"""The parts that a transfer strategy is composed of: freezing, learning rates, adapters."""
