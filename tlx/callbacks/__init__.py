"""What happens over the time of a training, in anybody's Trainer: phases, rates, mixout, forgetting, warnings."""
