"""Fixtures several folders share: the fake session in place of the real one; how hypothesis runs."""

import sys
from types import ModuleType

import pytest
from fake_session import FakeSession
from hypothesis import HealthCheck, settings

# A busy machine must not fail a test, and the same commit must give the same verdict.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture
def fake_session(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """Whoever imports ``healthgpt.inference.session`` during the test gets ``FakeSession``."""
    module = ModuleType("healthgpt.inference.session")
    module.Session = FakeSession  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "healthgpt.inference.session", module)
    FakeSession.loads.clear()
    FakeSession.calls.clear()
    return FakeSession
