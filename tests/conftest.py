"""Fixtures several folders share: the fake session in place of the real one."""

import sys
from types import ModuleType

import pytest
from fake_session import FakeSession


@pytest.fixture
def fake_session(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """Whoever imports ``healthgpt.inference.session`` during the test gets ``FakeSession``."""
    module = ModuleType("healthgpt.inference.session")
    module.Session = FakeSession  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "healthgpt.inference.session", module)
    FakeSession.loads.clear()
    FakeSession.calls.clear()
    return FakeSession
