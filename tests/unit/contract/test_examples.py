from isolet.contract.examples import BODIES
from tests.support.contract import operations
from tests.support.http_page import PAGE, http_page


def test_every_operation_with_a_body_has_an_example() -> None:
    """In contract/examples.py; what is there is sent to a server by another test."""
    assert set(BODIES) == {one.id for one in operations().values() if one.body is not None}


def test_examples_are_bodies_of_their_models() -> None:
    for operation in operations().values():
        if operation.body is not None:
            operation.body.model_validate(BODIES[operation.id])


def test_every_operation_is_described_by_a_sentence() -> None:
    assert [name for name, one in operations().items() if not (one.__doc__ or "").rstrip().endswith(".")] == []


def test_operations_are_named_as_in_the_client() -> None:
    assert {name.replace(".", "_") for name in operations()} == {one.id for one in operations().values()}


def test_the_reference_page_shows_the_operations_as_they_are() -> None:
    assert PAGE.read_text() == http_page(), "run scripts/http-page"
