from isolet.routing.own_cors import _STEP_CHARS, _names_rules


def test_rules_are_seen_wherever_a_bundle_has_them() -> None:
    for before in (0, 1, _STEP_CHARS - 8, _STEP_CHARS, 2 * _STEP_CHARS - 1):
        for names in ("Access-Control-Allow", "'options'", ".options("):
            assert _names_rules("a" * before + names + "b" * 100)
    assert not _names_rules("access-control" * 20_000)
    assert not _names_rules("")
