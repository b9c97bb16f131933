from __future__ import annotations

import pytest

from cli.testing import laneway_service  # noqa: F401 - a fixture is found by its name
from tests.fixtures.brokered import Carrier, start_carried_service
from tests.fixtures.carried_desk import CarriedDesk
from tests.fixtures.job_desk import Desk


@pytest.fixture(scope="session")
def laneway_models(small_models):
    return small_models


@pytest.fixture(scope="session")
def carried_service(small_models, rabbitmq, tmp_path_factory):
    """The service with RabbitMQ as its broker, where the long-lived worker runs the jobs."""
    with start_carried_service(
        small_models, rabbitmq.url, tmp_path_factory.mktemp("carried")
    ) as service:
        yield service


@pytest.fixture(params=["sqs", "rabbitmq"])
def service_of_either_broker(request):
    """The service on SQS, with functions that work, and on RabbitMQ; files that use it say `pytest.mark.rabbitmq`."""
    names = {"sqs": "laneway_service", "rabbitmq": "carried_service"}
    return request.getfixturevalue(names[request.param])


@pytest.fixture(params=["event source", "rabbitmq"])
def make_desk(request):
    """Makes a pool's worker over its queues: Lambda's event source, or RabbitMQ with the long-lived worker."""
    if request.param == "event source":
        yield Desk
        return
    url, carriers = request.getfixturevalue("rabbitmq").url, []

    def make(models, **options):
        carriers.append(Carrier(url, dict.fromkeys(("shared", "other"), ("async", "batch"))))
        return CarriedDesk(models, carrier=carriers[-1], **options)

    yield make
    for carrier in carriers:
        carrier.close()
