"""What a release's callers and operators name is still there, and called so."""

from __future__ import annotations

import json

import pytest

from harness.old_contract import KEPT, RELEASES
from harness.surface import surface

NAMES = {release: json.loads((KEPT / release / "names.json").read_text(encoding="utf-8")) for release in RELEASES}


@pytest.mark.parametrize("kind", sorted(surface()))
@pytest.mark.parametrize("release", RELEASES)
def test_no_name_of_a_release_is_gone(release: str, kind: str) -> None:
    old = set(NAMES[release].get(kind, ()))
    assert old or release != RELEASES[-1]
    assert old - set(surface()[kind]) == set()
