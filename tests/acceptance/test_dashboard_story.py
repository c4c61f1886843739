"""The dashboard in a real browser: all that somebody does with a project, from signing in to signing out."""

from __future__ import annotations

from tests.support.browser import Browser
from tests.support.dashboard import Desk
from tests.support.dashboard_story import STEPS, Story
from tests.support.projects import Project
from tests.support.server import Server


def test_the_whole_story(browser: Browser, server: Server, home: Project) -> None:
    """Nothing is written into the console, and the policy of the pages stops nothing."""
    with browser.page() as page:
        story = Story(desk=Desk(page=page, server=server, slug=home.slug), home=home)
        for step in STEPS:
            step(story)
            assert page.errors == [], step.__name__
