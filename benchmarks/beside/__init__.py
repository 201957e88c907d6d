"""Sweeps run by other programs beside ours."""
