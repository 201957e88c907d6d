"""The PyTorch/transformers backend. Importing it imports torch and transformers."""

from llem_sweep.backends.pytorch.backend import PyTorchBackend

__all__ = ["PyTorchBackend"]
