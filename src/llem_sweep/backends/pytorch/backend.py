"""Hugging Face models on PyTorch."""

from __future__ import annotations

import json
import logging

import torch
import transformers

from llem_sweep.backends.protocol import Fetched, LoadContext, LoadedModel
from llem_sweep.backends.pytorch.assistant import assistant_of, beside, load_assistant
from llem_sweep.backends.pytorch.compilation import unknown_compiler
from llem_sweep.backends.pytorch.extras import lacking
from llem_sweep.backends.pytorch.facts import describe
from llem_sweep.backends.pytorch.faults import Translated
from llem_sweep.backends.pytorch.fetch import Source, fetch_files
from llem_sweep.backends.pytorch.loading import Parts, load_parts
from llem_sweep.backends.pytorch.memory import allocated
from llem_sweep.backends.pytorch.model import TorchModel
from llem_sweep.backends.pytorch.placement import place
from llem_sweep.backends.pytorch.support import unsupported_generation
from llem_sweep.backends.pytorch.tensor import joined
from llem_sweep.clock import Clock
from llem_sweep.config.contents import is_local
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import ModelLoadError
from llem_sweep.plan.types import ModelFacts


class PyTorchBackend:
    """Causal language models from the Hub or a local folder, run by transformers' generate()."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._facts: dict[str, ModelFacts] = {}
        self._sources: dict[str | None, Source] = {}
        self._absent: dict[str | None, ModelFacts] = {}
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
            self._facts[key] = self._absent.get(self.fetch_key(config)) or self._describe(config)
        return self._facts[key]

    def _describe(self, config: ExperimentConfig) -> ModelFacts:
        if missing := lacking(config):
            return ModelFacts(absent=missing)
        if problem := unknown_compiler(config.pytorch):
            return ModelFacts(problem=problem)
        # Every further try would wait again for a Hub that doesn't answer.
        known = describe(config, ask_hub=not self._absent)
        if (assistant := assistant_of(config)) is not None:
            known = beside(known, describe(assistant, ask_hub=not self._absent), assistant.model)
        if known.absent is not None:
            self._absent[self.fetch_key(config)] = known
        return known

    def unsupported(self, config: ExperimentConfig) -> str | None:
        return "; ".join(unsupported_generation(config)) or None

    def fetch_key(self, config: ExperimentConfig) -> str | None:
        own, assistant = self._source_key(config), assistant_of(config)
        if assistant is None or (key := self._source_key(assistant)) is None:
            return own
        return json.dumps([own, key])

    def _source_key(self, config: ExperimentConfig) -> str | None:
        lora = config.lora
        adapter = [lora.adapter_id, lora.revision] if lora and lora.adapter_id else None
        if is_local(config.model) and adapter is None:
            return None
        options = config.pytorch
        kind = (config.weights, options.revision, options.use_safetensors, options.trust_remote_code)
        return json.dumps([config.model, *kind, adapter])

    def fetch(self, config: ExperimentConfig) -> Fetched:
        begun_s = self._clock.monotonic()
        models = [config, *filter(None, [assistant_of(config)])]
        fetched_bytes = sum(self._fetch(each).fetched_bytes for each in models)
        seconds = self._clock.monotonic() - begun_s
        return Fetched(fetched_bytes, seconds, already_there=not fetched_bytes)

    def _fetch(self, config: ExperimentConfig) -> Source:
        source = self._sources[self._source_key(config)] = fetch_files(config)
        return source

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
                "load_in_4bit",
                "load_in_8bit",
                "bnb_4bit_compute_dtype",
                "bnb_4bit_quant_type",
                "bnb_4bit_use_double_quant",
                "device_map",
                "max_memory",
                "torch_compile",
                "torch_compile_mode",
                "torch_compile_backend",
                "assistant_model",
            )
        }
        adapter = config.lora.model_dump() if config.lora else None
        return json.dumps(
            [config.model, config.weights, seed, config.precision, config.gpus, chosen, adapter]
        )

    def load(self, config: ExperimentConfig, context: LoadContext) -> LoadedModel:
        placement = place(config, context)
        before = allocated(placement.boards)
        with joined(context, placement):
            parts = load_parts(config, placement, self._source(config))
            assistant: Parts | None = None
            if (smaller := assistant_of(config)) is not None:
                assistant = load_assistant(smaller, placement, parts, self._source(smaller))
            with Translated(f"loading {config.model}", ModelLoadError):
                model = TorchModel(
                    parts, placement, context, assistant, before=before, now=self._clock.monotonic
                )
            model.synchronize()
        return model

    def _source(self, config: ExperimentConfig) -> Source:
        """All loads in this process read the commit that was fetched first, and ask the Hub once."""
        key = self._source_key(config)
        # A folder on disk is checked anew each time.
        return self._fetch(config) if key is None or key not in self._sources else self._sources[key]
