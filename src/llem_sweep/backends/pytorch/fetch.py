"""A model's files brought into this node's cache: once, under a lock, whole or not at all."""

from __future__ import annotations

import contextlib
import getpass
import glob
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.utils.tqdm import disable_progress_bars

from llem_sweep.backends.pytorch.files import Needed, check_folder, damages, needed_files
from llem_sweep.backends.pytorch.hub import Asking, Listing, cached_folder, endpoint, is_cached, look
from llem_sweep.config.contents import is_local
from llem_sweep.config.experiment import ExperimentConfig
from llem_sweep.errors import HubUnreachableError, ModelLoadError, ModelRefusedError

ABSENT = (
    "this node's cache ({cache}) doesn't hold the model whole ({why}). Let the node reach the Hub (HF_ENDPOINT "
    "names a mirror, HF_HUB_OFFLINE=1 forbids asking), or point HF_HOME to a cache that holds the model"
)


class Source(NamedTuple):
    """A model that is on this node, whole."""

    arguments: dict[str, Any]
    """What makes transformers read exactly these files."""
    fetched_bytes: int
    """Bytes that had to be downloaded; 0 when all was there."""


def fetch_files(config: ExperimentConfig) -> Source:
    """Make the files of ``config`` present on this node, and check that they are whole.

    Processes that ask for the same model on one node wait for each other. What the cache holds suffices where the
    Hub can't be reached or refuses. Raises ModelLoadError (ModelRefusedError, HubUnreachableError among it).
    """
    if is_local(config.model):
        check_folder(Path(config.model), config)
        return Source({}, 0)
    # Bars of downloading would be drawn over the driver's view.
    disable_progress_bars()
    with Asking(f"fetching {config.model}"), model_lock(config.model):
        try:
            listing = look(config.model, config.pytorch.revision)
        except (HubUnreachableError, ModelRefusedError) as exc:
            return _pinned(checked_cache(config, exc), config, 0)
        return _download(config, listing)


def checked_cache(config: ExperimentConfig, unavailable: ModelLoadError) -> Path:
    """The folder of this node's cache that holds ``config`` whole; ``unavailable`` is why the Hub doesn't.

    Raises an error of the kind of ``unavailable`` where there is none.
    """
    folder = cached_folder(config.model, config.pytorch.revision)
    if folder is None:
        if isinstance(unavailable, ModelRefusedError):
            raise unavailable
        raise _absent(config, unavailable, "nothing of it is there")
    try:
        check_folder(folder, config)
    except ModelRefusedError as exc:
        if isinstance(unavailable, ModelRefusedError):
            raise unavailable from exc
        raise _absent(config, unavailable, str(exc)) from exc
    return folder


@contextlib.contextmanager
def model_lock(model: str) -> Iterator[None]:
    """Hold ``model`` against every other process that uses this node's cache; freed when the process dies."""
    refused = []
    for file in _lock_files(model):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file)
            lock.acquire()
        except (OSError, NotImplementedError) as exc:
            # A cache that can't be written, or a file system without locks: the next place may have them.
            refused.append(f"{file.parent}: {exc}")
            continue
        try:
            yield
        finally:
            lock.release()
        return
    raise ModelLoadError(f"fetching {model}: no lock can be taken ({'; '.join(refused)})")


def _lock_files(model: str) -> Iterator[Path]:
    cache = Path(constants.HF_HUB_CACHE)
    name = f"{model.replace('/', '--')}.lock"
    yield cache / ".locks" / "llem-sweep" / name
    place = hashlib.sha256(str(cache).encode()).hexdigest()[:12]
    yield Path(tempfile.gettempdir()) / f"llem-sweep-{getpass.getuser()}" / f"{place}-{name}"


def _download(config: ExperimentConfig, listing: Listing) -> Source:
    model, commit = config.model, listing.commit
    there = {name for name in listing.sizes if is_cached(model, name, commit)}
    needed = needed_files(
        listing.sizes.keys(), config, lambda name: Path(hf_hub_download(model, name, revision=commit))
    )
    folder = _snapshot(config, needed)
    sizes = listing.sizes if folder.name == commit else {}
    damaged = damages(folder, needed, sizes)
    for name in damaged:
        hf_hub_download(model, name, revision=folder.name, force_download=True)
    if damaged and (left := damages(folder, needed, sizes)):
        told = "; ".join(f"{name} {why}" for name, why in left.items())
        raise ModelLoadError(f"{model}: what {endpoint()} sends is damaged: {told}")
    fetched = sum(_bytes(folder / name) for name in {*needed.names} - there | damaged.keys())
    return _pinned(folder, config, fetched)


def _snapshot(config: ExperimentConfig, needed: Needed) -> Path:
    """Downloads what is missing; by the revision's name, so that the cache can be asked for it offline."""
    patterns = [glob.escape(name) for name in needed.names]
    return Path(snapshot_download(config.model, revision=config.pytorch.revision, allow_patterns=patterns))


def _pinned(folder: Path, config: ExperimentConfig, fetched_bytes: int) -> Source:
    """Loading reads this commit and asks nobody, unless the model's own code may come from yet another place."""
    alone = not config.pytorch.trust_remote_code
    return Source({"revision": folder.name, "local_files_only": alone}, fetched_bytes)


def _absent(config: ExperimentConfig, unavailable: ModelLoadError, why: str) -> HubUnreachableError:
    cache = ABSENT.format(cache=constants.HF_HUB_CACHE, why=why)
    return HubUnreachableError(f"{config.model}: {unavailable}, and {cache}")


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
