"""A cluster in simulated time, for what would take hours on a real one."""
