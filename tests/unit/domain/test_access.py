import hashlib

import pytest

from isolet.domain.access import Principal, Role, check_role, digest, new_key
from isolet.errors import Forbidden, InvalidInput, NotFound
from isolet.ids import ProjectId

OURS, OTHERS = ProjectId("ours"), ProjectId("others")
ROOT = Principal(role=Role.ADMIN)


def test_the_root_acts_on_every_project() -> None:
    assert ROOT.is_root
    for project in (OURS, OTHERS):
        assert ROOT.sees(project)
        ROOT.require(Role.ADMIN, project)


@pytest.mark.parametrize("held", Role)
@pytest.mark.parametrize("needed", Role)
def test_a_role_may_do_what_smaller_ones_may(held: Role, needed: Role) -> None:
    order = [Role.READ, Role.INVOKE, Role.DEPLOY, Role.ADMIN]
    principal = Principal(role=held, project_id=OURS)
    if order.index(held) >= order.index(needed):
        principal.require(needed, OURS)
    else:
        with pytest.raises(Forbidden, match=rf"^This key has the role {held}; this needs {needed}$"):
            principal.require(needed, OURS)


@pytest.mark.parametrize("role", Role)
def test_anothers_project_is_not_there(role: Role) -> None:
    principal = Principal(role=role, project_id=OURS)
    assert not principal.is_root
    assert not principal.sees(OTHERS)
    with pytest.raises(NotFound, match=r"^Project not found$"):
        principal.require(Role.ADMIN, OTHERS, missing="Project not found")


def test_keys_are_long_random_text() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("isk_") and len(key) == 47 for key in keys)


def test_a_digest_is_the_sha_256_of_the_key() -> None:
    assert digest("isk_ä") == hashlib.sha256("isk_ä".encode()).digest()


@pytest.mark.parametrize("role", Role)
def test_roles_are_known_by_name(role: Role) -> None:
    assert check_role(role.value) is role


@pytest.mark.parametrize("value", ["owner", "", None, 1, ["admin"]])
def test_other_roles_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^role must be one of read, invoke, deploy, admin$"):
        check_role(value)
