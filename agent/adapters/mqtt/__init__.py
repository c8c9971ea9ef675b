"""The link to the broker: MQTT 5 over TLS, by paho."""

from agent.adapters.mqtt.credentials import TlsFiles
from agent.adapters.mqtt.link import MqttLink

__all__ = ["MqttLink", "TlsFiles"]
