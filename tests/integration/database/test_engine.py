import pytest

from isolet.database.engine import open_engines
from isolet.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("not a url", "cannot read ISOLET_DATABASE_URL: it is not a database URL"),
        ("mysql://u:hidden@db/isolet", "cannot use ISOLET_DATABASE_URL: mysql is neither sqlite nor postgresql"),
    ],
)
def test_another_kind_of_database_is_refused_without_showing_the_url(url: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as told:
        open_engines(url)
    assert told.value.message == complaint


@pytest.mark.parametrize("url", ["postgresql+pg8000://u:hidden@db/isolet", "sqlite+none:///file"])
def test_a_driver_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^cannot use ISOLET_DATABASE_URL: its driver is not there: ") as told:
        open_engines(url)
    assert "hidden" not in told.value.message


@pytest.mark.parametrize("url", ["postgresql://u@localhost/isolet", "postgresql+psycopg://u@localhost/isolet"])
def test_postgresql_is_spoken_with_psycopg_3(url: str) -> None:
    engines = open_engines(url)
    assert engines.writer.driver == "psycopg"
    assert engines.writer_threads > 1
    engines.dispose()
