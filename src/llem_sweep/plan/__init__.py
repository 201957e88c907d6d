"""Pure planning: from a sweep to an ordered list of experiments, and what of it can run."""
