"""What an experiment and a sweep are, as the user writes them."""
