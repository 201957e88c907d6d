"""Boards: real ones through NVML, simulated ones, and the proof of which is which."""
