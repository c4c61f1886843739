"""Seals secrets: AES-256-GCM with a data key for each project, itself wrapped by the operator's master key.

Rotating the master key wraps the data keys again and leaves the secrets as they are.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isolet.database import secrets as stored
from isolet.database.connection import Database
from isolet.errors import PlatformError, SettingsError, StoreError
from isolet.ids import ProjectId

KEY_BYTES = 32
_NONCE_BYTES = 12


class MasterKey:
    """32 bytes that wrap data keys; `id` names them without telling them."""

    __slots__ = ("_cipher", "id")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"isolet master key" + key).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str, *, source: str) -> MasterKey:
        """From base64. Raises SettingsError naming where the text came from."""
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise SettingsError(f"cannot read {source}: a master key is {KEY_BYTES} bytes in base64")
        return cls(key)

    @staticmethod
    def generate() -> str:
        """A new key, in base64."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    def wrap(self, project_id: ProjectId, key: bytes) -> bytes:
        return _seal(self._cipher, key, f"data key of {project_id}")

    def unwrap(self, project_id: ProjectId, wrapped: bytes) -> bytes:
        """Raises PlatformError for what this key did not wrap."""
        return _open(self._cipher, wrapped, f"data key of {project_id}")


class Vault:
    """The data keys of all projects, in memory while the server runs."""

    def __init__(self, database: Database, master: MasterKey) -> None:
        self._database = database
        self._master = master
        self._keys: dict[ProjectId, bytes] = {}
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, database: Database, masters: Sequence[MasterKey]) -> tuple[Vault, MasterKey]:
        """The vault, and which of the keys at hand opens it: the first when nothing is sealed yet.

        Raises SettingsError when none does.
        """
        sealed = await database.read(stored.list_data_keys)
        used = {key_id for key_id, _ in sealed.values()}
        master = next((master for master in masters if not used or used == {master.id}), None)
        if master is None:
            raise SettingsError(
                f"cannot open the secrets: they are sealed with master key {', '.join(sorted(used))}, and the key "
                f"given is {masters[0].id}. Set ISOLET_MASTER_KEY to the key they were sealed with"
            )
        await database.write(stored.take_master_key, master.id)
        vault = cls(database, master)
        for project_id, (_, wrapped) in sealed.items():
            vault._keys[project_id] = master.unwrap(project_id, wrapped)
        return vault, master

    async def seal(self, project_id: ProjectId, text: str, *, purpose: str) -> bytes:
        """Ciphertext that only `open_sealed` with the same project and purpose can read. Raises as `prepare` does."""
        await self.prepare(project_id)
        return self.seal_now(project_id, text, purpose=purpose)

    async def prepare(self, project_id: ProjectId) -> None:
        """Have the project's data key at hand, a new one where it has none.

        Raises SecretsFailed when it takes a new data key and the master key was rotated on another server.
        """
        async with self._lock:
            await self._load_missing(project_id)
            if project_id not in self._keys:
                await self._make(project_id)

    def seal_now(self, project_id: ProjectId, text: str, *, purpose: str) -> bytes:
        """As `seal`, with a data key that is at hand, in any thread. Raises PlatformError without one."""
        return _seal(AESGCM(self._key(project_id)), text.encode(), purpose)

    async def _make(self, project_id: ProjectId) -> None:
        key = os.urandom(KEY_BYTES)
        wrapped = self._master.wrap(project_id, key)
        try:
            await self._database.write(stored.insert_data_key, project_id, self._master.id, wrapped)
        except StoreError:
            # Another server may have been first.
            await self._load_missing(project_id)
            if project_id not in self._keys:
                raise
            return
        self._keys[project_id] = key

    async def load_missing(self, project_id: ProjectId | None = None) -> None:
        """Take over data keys that another server made; only if the project's is not known, when one is named."""
        async with self._lock:
            await self._load_missing(project_id)

    async def _load_missing(self, project_id: ProjectId | None) -> None:
        if not self._database.shared or project_id in self._keys:
            return
        for other, (key_id, wrapped) in (await self._database.read(stored.list_data_keys)).items():
            # What is wrapped with another master key was rotated on another server; sealing there tells so.
            if other not in self._keys and key_id == self._master.id:
                self._keys[other] = self._master.unwrap(other, wrapped)

    def open_sealed(self, project_id: ProjectId, sealed: bytes, *, purpose: str) -> str:
        """Raises PlatformError when it was sealed for another purpose, or tampered with."""
        return _open(AESGCM(self._key(project_id)), sealed, purpose).decode()

    def _key(self, project_id: ProjectId) -> bytes:
        key = self._keys.get(project_id)
        if key is None:
            raise PlatformError("cannot open a secret, or seal one: its project has no data key")
        return key

    def forget(self, project_id: ProjectId) -> None:
        """The project is gone, its data key with it."""
        self._keys.pop(project_id, None)

    async def rotate(self, master: MasterKey) -> int:
        """Wrap every data key with another master key, in one transaction; how many there were.

        Raises SecretsFailed when another server rotated it before, Conflict when one made a data key meanwhile.
        """
        async with self._lock:
            # One that another server made stays closed for ever once the old master key is thrown away.
            await self._load_missing(None)
            wrapped = {project_id: master.wrap(project_id, key) for project_id, key in self._keys.items()}
            await self._database.write(stored.replace_data_keys, self._master.id, master.id, wrapped)
            self._master = master
            return len(wrapped)


def _seal(cipher: AESGCM, plain: bytes, purpose: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, purpose.encode())


def _open(cipher: AESGCM, sealed: bytes, purpose: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
    except (InvalidTag, ValueError):
        raise PlatformError("cannot open what is sealed: it was changed, or sealed with another key") from None
