"""Hugging Face models on PyTorch."""

from __future__ import annotations

import json
import logging

import torch
import transformers

from llem_sweep.backends.protocol import LoadContext, LoadedModel
from llem_sweep.backends.pytorch.facts import HubUnreachableError, describe
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.loading import load_parts
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.backends.pytorch.placement import place
from llem_sweep.backends.pytorch.tensor import joined
from llem_sweep.clock import Clock
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelLoadError
from llem_sweep.plan.types import ModelFacts


class PyTorchBackend:
    """Causal language models from the Hub or a local folder, run by transformers' generate()."""

    def __init__(self, clock: Clock) -> None:
        self._facts: dict[str, ModelFacts] = {}
        self._hub_unreachable = False
        # The Hub client tells of every retry, over whatever is drawn; in the end it raises all the same.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

    @property
    def version(self) -> str:
        return f"transformers {transformers.__version__}, torch {torch.__version__}"

    @property
    def synthetic(self) -> bool:
        return False

    def describe(self, config: ExperimentConfig) -> ModelFacts:
        key = self.load_key(config)
        if key not in self._facts:
            self._facts[key] = self._describe(config)
        return self._facts[key]

    def _describe(self, config: ExperimentConfig) -> ModelFacts:
        if self._hub_unreachable and not config.model.startswith(("./", "../", "/")):
            return ModelFacts()
        try:
            return describe(config)
        except HubUnreachableError:
            # Every further try would wait for the Hub client's retries again.
            self._hub_unreachable = True
            return ModelFacts()

    def load_key(self, config: ExperimentConfig) -> str:
        options = config.pytorch
        seed = config.random_seed if config.weights == "random" else None
        chosen = {
            name: getattr(options, name)
            for name in (
                "device",
                "attn_implementation",
                "revision",
                "trust_remote_code",
                "use_safetensors",
                "parallelism",
            )
        }
        return json.dumps([config.model, config.weights, seed, config.precision, config.gpus, chosen])

    def load(self, config: ExperimentConfig, context: LoadContext) -> LoadedModel:
        placement = place(config, context)
        with joined(context, placement):
            parts = load_parts(config, placement)
            with Translated(f"loading {config.model}", ModelLoadError):
                model = TorchModel(parts, placement, context)
            model.synchronize()
        return model
