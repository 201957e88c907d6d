"""What the Hub says of a model: one short look, with all that can be wrong told apart.

The client's own settings hold: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE,
HF_HUB_ETAG_TIMEOUT, proxies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from llem_sweep.errors import HubUnreachableError, LlemSweepError, ModelLoadError, ModelRefusedError
from llem_sweep.redaction import redact

CONFIG = "config.json"
LOOK_S = 3.0
"""Longest wait for the Hub's first answer, unless HF_HUB_ETAG_TIMEOUT says otherwise; nothing is tried again."""
_CAN_READ = "set HF_TOKEN, or run `hf auth login`, on every node"
# The client's own error stands on that of its HTTP library, which differs from release to release, and on OSError.
_NETWORK_ERRORS: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, ValueError)


class Asking:
    """Raise what the Hub's client raises inside as ModelLoadError, or as ``otherwise``.

    As ``faults.Translated`` does for torch, without importing it: fetching has to be light, since others measure
    beside it.
    """

    def __init__(self, doing: str, otherwise: type[ModelLoadError] = ModelLoadError) -> None:
        self._doing = doing
        self._otherwise = otherwise

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception) and not isinstance(exc, LlemSweepError):
            raise self._otherwise(redact(f"{self._doing}: {type(exc).__name__}: {exc}")) from exc


class Listing(NamedTuple):
    """A model on the Hub at one commit."""

    commit: str
    sizes: Mapping[str, int | None]
    """Every file by name, with its bytes where the Hub tells them."""


def look(model: str, revision: str | None, entry: str = CONFIG) -> Listing:
    """What the Hub holds under ``model`` at ``revision``.

    Raises ModelRefusedError when the model can't be had (it doesn't exist, is gated, has no such revision or no
    file ``entry``), and HubUnreachableError when that isn't known, at most about 2 × :data:`LOOK_S` later.
    """
    try:
        head = get_hf_file_metadata(hf_hub_url(model, entry, revision=revision), timeout=_patience_s())
        if head.commit_hash is None:
            raise HubUnreachableError(
                f"{endpoint()} doesn't answer as a Hub does: check HF_ENDPOINT and proxies"
            )
        info = HfApi().model_info(
            model, revision=head.commit_hash, timeout=_patience_s(), files_metadata=True
        )
    except OfflineModeIsEnabled as exc:
        raise HubUnreachableError("the Hub isn't asked, because HF_HUB_OFFLINE is set") from exc
    except _NETWORK_ERRORS as exc:
        refusal = _refusal(exc, model, revision, entry)
        if refusal is not None:
            raise ModelRefusedError(f"{model}: {refusal}") from exc
        raise HubUnreachableError(
            redact(f"the Hub at {endpoint()} can't be reached ({type(exc).__name__}: {_first_line(exc)})")
        ) from exc
    return Listing(head.commit_hash, {file.rfilename: file.size for file in info.siblings or ()})


def cached_folder(model: str, revision: str | None, entry: str = CONFIG) -> Path | None:
    """Where this node's cache holds ``model`` at ``revision``, whole or in part; None where it doesn't."""
    try:
        found = try_to_load_from_cache(model, entry, revision=revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def is_cached(model: str, name: str, commit: str) -> bool:
    """Whether this node's cache holds the file ``name`` of ``commit``."""
    return isinstance(try_to_load_from_cache(model, name, revision=commit), str)


def endpoint() -> str:
    """Where the Hub or its mirror is, fit to be shown."""
    return redact(constants.ENDPOINT)


def _refusal(exc: BaseException, model: str, revision: str | None, entry: str) -> str | None:
    """Why the model can't be had, and what to do; None for an error that says nothing on the model."""
    if isinstance(exc, GatedRepoError):
        return f"the model is gated: ask for access at {endpoint()}/{model}, then {_CAN_READ}"
    if isinstance(exc, RevisionNotFoundError):
        field = "pytorch.revision" if entry == CONFIG else "lora.revision"
        return f"there is no revision {revision!r} of it: check {field}"
    if isinstance(exc, RepositoryNotFoundError):
        return f"{endpoint()} shows no such model: check the name; for a private one {_CAN_READ}"
    if isinstance(exc, RemoteEntryNotFoundError):
        return f"there is no {entry} in it, without which it can't be loaded"
    if isinstance(exc, HFValidationError):
        return f"not the name of a model: give a Hub id, or a folder that starts with ./ ({_first_line(exc)})"
    status = exc.response.status_code if isinstance(exc, HfHubHTTPError) else None
    if status in (401, 403):
        return f"{endpoint()} refuses access ({status}): no token, or one that may not read it; {_CAN_READ}"
    return f"{endpoint()} knows no such model or file" if status == 404 else None


def _patience_s() -> float:
    return float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or LOOK_S)


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().partition("\n")[0]
