"""What an experiment yields: frozen, versioned, closed to unknown fields."""
