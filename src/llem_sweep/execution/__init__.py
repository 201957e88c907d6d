"""Who runs which experiment when: the driver loop, its workers, and Ray."""
