"""The key that wraps the keys of all secrets."""

from __future__ import annotations

from isolet.contract.models import Body, Reply
from isolet.contract.operations import Mode, Resource, operation


class MasterKeyRotation(Body):
    """`new_key` is 32 bytes in base64; without it the server makes one, when it keeps the key itself."""

    new_key: str | None = None


class RotationReply(Reply):
    """The id of the new master key, and how many data keys it wraps."""

    key_id: str
    data_keys: int


class MasterKey(Resource[Mode]):
    tag = "operation"

    @operation("POST", "/master-key/rotate")
    def rotate(self, body: MasterKeyRotation) -> RotationReply:
        """Wrap all keys of projects with a new master key. Without one the server makes it, if it keeps its own."""
