"""A real broker over mutual TLS: mosquitto where it is installed, else the demo's, which comes in a wheel."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.mqtt import TlsFiles
from tests.brokers import HOST, OPERATOR, Mosquitto
from tests.programs import find_program

NODE: Final = "bench"
"""The node's name, and the CN of its certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBroker:
    """Where it listens, and the certificates of the node and of a consumer that may read everything."""

    name: str
    port: int
    node: TlsFiles
    consumer: TlsFiles
    consumer_name: str = OPERATOR
    host: str = HOST


@contextmanager
def running_broker(folder: Path) -> Iterator[RunningBroker]:
    """A broker while the context lasts; its files lie in `folder`.

    Raises:
        RuntimeError: there is none, or it did not start.
    """
    if find_program("mosquitto") is not None:
        with Mosquitto(folder) as broker:
            node, consumer = (broker.authority.issue(name) for name in (NODE, OPERATOR))
            yield RunningBroker(
                name="mosquitto",
                port=broker.port,
                node=TlsFiles(ca=node.ca, certificate=node.certificate, key=node.key),
                consumer=TlsFiles(ca=consumer.ca, certificate=consumer.certificate, key=consumer.key),
            )
        return
    with _embedded(folder) as broker:
        yield broker


@contextmanager
def _embedded(folder: Path) -> Iterator[RunningBroker]:
    try:
        from agent.demo import broker as demo
    except ImportError as error:
        raise RuntimeError(
            "no broker to measure with: install mosquitto, or nanofleet with the extra `demo`"
        ) from error
    from agent.demo.certificates import Identity, ThrowawayAuthority

    def files(identity: Identity) -> TlsFiles:
        return TlsFiles(ca=identity.ca_file, certificate=identity.cert_file, key=identity.key_file)

    authority = ThrowawayAuthority(folder)
    with demo.running_broker(folder, authority.server(HOST)) as port:
        yield RunningBroker(
            name="rumqttd (iotcore)",
            port=port,
            node=files(authority.client(NODE)),
            consumer=files(authority.client(OPERATOR)),
        )
