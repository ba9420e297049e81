"""From a command line to a checked config: composing, names, values, limits, what a yaml may name."""
