"""The link to the broker: MQTT 5 over TLS, by paho."""

from agent.adapters.mqtt.link import MqttLink
from agent.adapters.mqtt.tls import TlsFiles

__all__ = ["MqttLink", "TlsFiles"]
