"""Prompts as a chat's first message, by the template of the model's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from llem_sweep.config.datasets import no_template
from llem_sweep.errors import BackendError

_TEMPLATE = "chat_template.jinja"
_SETTINGS = "tokenizer_config.json"
_DAY = {
    "%d": "26",
    "%m": "07",
    "%b": "Jul",
    "%B": "July",
    "%Y": "2024",
    "%y": "24",
    "%a": "Fri",
    "%A": "Friday",
}
_SAME_DAY = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f"|replace('{code}','{word}')" for code, word in _DAY.items())
    + " }}{% endmacro %}{{ '' }}"
)
"""Put before a template, so that one that tells the date tells the same one always: an experiment is the same work
on any day."""


class Chat:
    """The template of one tokenizer. Raises BackendError where it has none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: str) -> None:
        if not tokenizer.chat_template:
            raise BackendError(no_template(model))
        self._tokenizer = tokenizer
        self._template = _SAME_DAY + tokenizer.get_chat_template()

    def ids(self, prompt: str, longest: int) -> list[int]:
        """Token ids of ``prompt`` in its template, with the opening of the answer; at most ``longest``.

        A longer prompt is cut at its own end, so that the template stays whole. Raises BackendError where the
        template alone is longer.
        """
        ids = self._encode(self._templated(prompt))
        if len(ids) <= longest:
            return ids
        words = self._encode(prompt)
        kept = len(words)
        while len(ids) > longest:
            kept -= len(ids) - longest
            if kept < 1:
                template = len(self._encode(self._templated("")))
                raise BackendError(
                    f"max_input_tokens is {longest}, and the chat template alone takes {template} tokens: raise it"
                )
            ids = self._encode(self._templated(str(self._tokenizer.decode(words[:kept]))))
        return ids

    def _templated(self, prompt: str) -> str:
        message = {"role": "user", "content": prompt}
        text = self._tokenizer.apply_chat_template(
            [message], chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        return str(text)

    def _encode(self, text: str) -> list[int]:
        # The template says itself which special tokens it begins with.
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def has_template(find: Callable[[str], Path | None]) -> bool:
    """Whether a tokenizer has a chat template, by the files that transformers keeps it in; ``find`` tells where a
    model's file of that name can be read here, None where it has none.

    True also where one of them is damaged, which checking the files tells, and where the tokenizer has code of its
    own, which may bring one.
    """
    if find(_TEMPLATE) is not None:
        return True
    settings = find(_SETTINGS)
    try:
        told = {} if settings is None else json.loads(settings.read_bytes())
    except (OSError, ValueError):
        return True
    return not isinstance(told, dict) or "auto_map" in told or bool(told.get("chat_template"))
