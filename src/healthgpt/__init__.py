"""HealthGPT: one model that reads and draws medical images. Research use only, not a medical device.

``HealthGPT`` is ``inference.session.Session``, handed out on first use so that ``import healthgpt``
(and with it ``healthgpt --help``) does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from healthgpt.inference.session import Session as HealthGPT

__all__ = ["HealthGPT"]


def __getattr__(name: str) -> Any:
    if name == "HealthGPT":
        return import_module("healthgpt.inference.session").Session
    raise AttributeError(f"module 'healthgpt' has no attribute '{name}'")
