"""What happens inside a model: logit lens, direct logit attribution, activation patching, probes, steering.   Over `models.hooks`."""
