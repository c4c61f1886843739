from __future__ import annotations

from tests.support.cli_page import PAGE, cli_page


def test_the_reference_page_shows_the_commands_as_they_are() -> None:
    assert PAGE.read_text() == cli_page(), "run scripts/cli-page"
