"""The life of one experiment."""
