"""The demo's broker: rumqttd out of a wheel, MQTT 5 over mutual TLS on a free loopback port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iotcore import Broker

from agent.demo.certificates import Identity

HOST = "127.0.0.1"

_CONFIGURATION = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10

[v5.demo]
name = "demo"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.demo.tls]
certpath = "{cert}"
keypath = "{key}"
capath = "{ca}"

[v5.demo.connections]
connection_timeout_ms = 10000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_broker(folder: Path, identity: Identity) -> Iterator[int]:
    """A broker while the context lasts; yields its port.

    Raises:
        RuntimeError: it did not start.
    """
    port = free_port()
    configuration = folder / "broker.toml"
    configuration.write_text(
        _CONFIGURATION.format(
            host=HOST, port=port, cert=identity.cert_file, key=identity.key_file, ca=identity.ca_file
        )
    )
    with Broker(config_path=str(configuration)):
        yield port
