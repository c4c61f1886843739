import pytest
from msgspec.structs import replace

from isolet.domain.changes import Change, FunctionChanged, FunctionDeleted, FunctionDeployed, KeyDeleted, ProjectChanged
from isolet.domain.triggers import CronTrigger, HttpTrigger
from isolet.ids import KeyId
from isolet.schedules.scheduler import may_be_due
from tests.integration.database.rows import a_function, a_project

PROJECT = a_project()
PLAIN = a_function(PROJECT)
CRON = replace(PLAIN, triggers=(HttpTrigger(), CronTrigger(schedule="0 * * * *")))
OPTIONS = replace(PLAIN, door_settings={"options": {"schedule": "0 * * * *"}})


@pytest.mark.parametrize(
    ("change", "looks"),
    [
        (FunctionChanged(function=CRON), True),
        (FunctionDeployed(function=CRON), True),
        (FunctionChanged(function=OPTIONS), True),
        (ProjectChanged(project=PROJECT), True),
        (FunctionChanged(function=PLAIN), False),
        (FunctionChanged(function=replace(PLAIN, triggers=(HttpTrigger(),))), False),
        (FunctionDeleted(function_id=CRON.id, project_id=PROJECT.id), False),
        (KeyDeleted(key_id=KeyId("k")), False),
    ],
)
def test_due_times_are_looked_for_after_what_may_have_made_one(change: Change, looks: bool) -> None:
    assert may_be_due(change) is looks
