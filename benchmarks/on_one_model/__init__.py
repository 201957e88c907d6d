"""What benchmarks of the PyTorch backend on one model share."""
