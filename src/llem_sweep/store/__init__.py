"""Every path and file name; atomic writes, the journal, and resuming."""
