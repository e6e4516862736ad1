"""Models published on the Hugging Face hub: which repository at which revision, and its files on this disk.

Downloads go through huggingface_hub, with its progress bars, resumption and cache. A machine without a network is told
what to download elsewhere, how large it is, and the folder of this machine to put it in, which is looked at first.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from healthgpt.errors import ModelError

HOME_VARIABLE = "HEALTHGPT_HOME"
"""Names the folder that holds imported releases and hand-made downloads; ``~/.cache/healthgpt`` when unset."""
NEWEST = "main"
MODEL_FILES = ("*.json", "*.model", "*.txt", "*.safetensors")
"""What a language model's repository is downloaded for: description, tokenizer, weights."""
ENDPOINT = constants.ENDPOINT
REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class Published:
    """A repository at a revision (a commit, or ``main``: the newest), the files wanted of it, and their size."""

    repo: str
    revision: str = NEWEST
    files: tuple[str, ...] = MODEL_FILES
    gigabytes: float | None = None

    def __post_init__(self) -> None:
        if not REPOSITORY.fullmatch(self.repo):  # a model's description may name one, and folders are named after it
            raise ValueError(f"'{self.repo}' is not the name of a repository")


PINNED = {
    one.repo: one
    for one in (
        Published("microsoft/Phi-3-mini-4k-instruct", "0a67737cc96d2554230f90338b163bc6380a2a85", gigabytes=7.6),
        Published("microsoft/phi-4", "187ef0342fff0eb3333be9f00389385e95ef0b61", gigabytes=29.3),
        Published("Qwen/Qwen2.5-32B-Instruct", "5ede1c97bbab6ce5cda5812749b4c0bdf79b18dd", gigabytes=65.5),
        Published(
            "openai/clip-vit-large-patch14-336", "ce19dc912ca5cd21c8a653c79e251e808ccabcd1",
            ("config.json", "preprocessor_config.json", "pytorch_model.bin"), 1.7,
        ),
        Published(
            "lintw/HealthGPT-M3", "a1184cc40b3341509e00549a2b19d2c1c8ff955c",
            ("com_hlora_weights.bin", "gen_hlora_weights.bin", "fusion_layer_weights.bin"), 1.6,
        ),
        Published(
            "lintw/HealthGPT-L14", "a868fe949f4552281f8784d668b353826c4b0c38", ("com_hlora_weights_phi4.bin",), 0.3
        ),
        Published("lintw/HealthGPT-XL32", files=("com_hlora_weights_QWEN_32B.bin",), gigabytes=0.6),
    )
}  # fmt: skip
"""The repositories the releases are made of. The commit of HealthGPT-XL32 is not known to us: its newest is taken."""


def model_home() -> Path:
    """Where imported releases and hand-made downloads lie."""
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".cache" / "healthgpt").expanduser()


def hand_made(published: Published) -> Path:
    """Where a person puts the files of a repository on a machine that cannot download them."""
    return model_home() / "downloads" / published.repo.replace("/", "--")


def fetched(published: Published) -> Path:
    """The folder that holds a repository's wanted files, downloaded if they are not there yet.

    ``ModelError`` says what to do when they cannot be had.
    """
    return fetched_all([published])[0]


def fetched_all(wanted: Sequence[Published]) -> list[Path]:
    """Like ``fetched`` for several; ``ModelError`` names all that cannot be had, not the first alone."""
    here = [_on_disk(one) for one in wanted]
    missing = [one for one, folder in zip(wanted, here, strict=True) if folder is None]
    if missing and (fault := _unreachable(missing)):
        steps = [
            f"https://huggingface.co/{one.repo}/tree/{one.revision}{_size(one)} into {hand_made(one)}"
            for one in missing
        ]
        raise ModelError(
            f"{len(missing)} published parts are not on this machine and cannot be downloaded", found=fault,
            allowed=f"a network, or hand-made copies of {', '.join(sorted({f for one in missing for f in one.files}))}",
            next_step="download " + ", ".join(steps),
        )  # fmt: skip
    return [folder or _download(one) for one, folder in zip(wanted, here, strict=True)]


def _size(published: Published) -> str:
    return f" ({published.gigabytes} GB)" if published.gigabytes is not None else ""


def _on_disk(published: Published) -> Path | None:
    """The hand-made folder, or the whole snapshot in the hub's cache."""
    folder = hand_made(published)
    if folder.is_dir() and any(folder.iterdir()):
        return folder
    try:
        return Path(
            snapshot_download(
                published.repo, revision=published.revision, allow_patterns=list(published.files), local_files_only=True
            )
        )
    except OSError:  # not there, or not whole
        return None


def _unreachable(wanted: Sequence[Published]) -> str:
    """Why the hub cannot serve these; empty when it can. Asked first: a download would retry for half a minute."""
    for one in wanted:
        try:
            HfApi(endpoint=ENDPOINT).model_info(one.repo, revision=one.revision, timeout=PATIENCE)
        except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError) as fault:
            return f"{one.repo} at {one.revision}: {type(fault).__name__}"
        except Exception as fault:  # the hub's client passes on whatever its HTTP library raises
            return f"no answer from {ENDPOINT} ({str(fault).splitlines()[0] if str(fault) else fault!r})"
    return ""


def _download(published: Published) -> Path:
    try:
        return Path(
            snapshot_download(
                published.repo, revision=published.revision, allow_patterns=list(published.files),
                endpoint=ENDPOINT,
            )
        )  # fmt: skip
    except Exception as fault:  # as above
        raise ModelError(
            f"{published.repo} could not be downloaded whole", found=str(fault).splitlines()[0],
            next_step="run the same command again: what is there already is kept",
        ) from fault  # fmt: skip


def source_of(base: str) -> Published | None:
    """What a ``--base`` names: None for a folder, else a repository, at its pinned revision where there is one.

    ``ModelError`` for what is neither.
    """
    if Path(base).is_dir():
        return None
    if not REPOSITORY.fullmatch(base):
        raise ModelError(f"no folder {base}", allowed="a folder, or a hub id such as microsoft/Phi-3-mini-4k-instruct")
    return PINNED.get(base) or Published(base)
