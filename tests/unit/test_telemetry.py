import subprocess
import sys

PROGRAM = """
import logging
from isolet.telemetry import configure_logging, get_logger

configure_logging(form="text", level="info")
for _ in range(2):
    get_logger("test").error("lost")
    logging.error("lost")
print("went on")
"""


def test_a_log_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=full, check=False)

    assert done.stdout == b"went on\n"


def test_a_start_does_not_load_rich_and_others_still_can() -> None:
    program = "import sys, isolet.telemetry; print('rich' in sys.modules); import rich.console; print(rich.__name__)"

    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)

    assert done.stdout == b"False\nrich\n"
