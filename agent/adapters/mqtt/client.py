"""paho's client with its traps disarmed; tests/adapters/test_paho_canaries.py holds what is relied upon."""

import time
from collections.abc import Callable
from typing import Any, Final, Literal

from paho.mqtt.client import Client, _ConnectionState  # type: ignore[attr-defined]
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from agent.adapters.mqtt.answers import properties_in
from agent.adapters.mqtt.wire import Wire

_MOST_IN_FLIGHT: Final = 65_535

Answer = Callable[[int, dict[str, Any]], None]
"""Gets the reason code of a CONNACK or DISCONNECT and its properties, by paho's names."""


class PahoClient(Client):
    """One connection's client, run by one thread; `publish` may be called from another.

    Traps of paho 2.2, and what is done about them:

    * A PUBACK whose reason it does not list (0x95 among them) is malformed to it and ends the connection,
      and it makes ten objects of each PUBACK: acknowledgements are read here.
    * A reason that it does not list, and a Maximum Packet Size above 268,435,455, is malformed to it in
      CONNACK and DISCONNECT, too; and there are versions that lose the reason of a DISCONNECT without
      properties, so that a take-over looks like a clean end: both are read here.
    * It queues what exceeds its own window: that is set to the largest.
    * It writes in the caller's thread if it has not made the network thread: the callback for an
      outside loop keeps it from that.
    * It keeps answering, and so fetching, while the reader of messages lags: acknowledgements are manual.
    * It learns of a dead connection after two keepalives and more: see `beat`. It takes every byte for a sign
      of life, also those of a packet that never ends: see `unanswered_s`.
    """

    def __init__(
        self,
        *,
        client_id: str,
        wire: Wire,
        on_puback: Callable[[int, int], None],
        on_connack: Answer,
        on_server_disconnect: Answer,
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._wire = wire
        self._pinged_at: float | None = None
        self._on_puback = on_puback
        self._on_connack = on_connack
        self._on_server_disconnect = on_server_disconnect
        self.max_inflight_messages_set(_MOST_IN_FLIGHT)
        self.on_socket_register_write = _leave_writing_to_the_network_thread

    def beat(self, keepalive_s: float) -> None:
        """Ping early enough that silence is noticed after 4/3 of `keepalive_s`."""
        self._keepalive = keepalive_s * 2 / 3  # type: ignore[assignment]

    def unanswered_s(self) -> float:
        """How long a ping has been without its answer, whatever else came in; 0 while none is."""
        return 0.0 if self._pinged_at is None else time.monotonic() - self._pinged_at

    def release(self) -> None:
        """Close the pair of sockets that paho wakes its thread by. Nothing may be sent any more."""
        self._reset_sockets()

    def _create_socket(self) -> Wire:
        return self._wire

    def _handle_connack(self) -> MQTTErrorCode:
        # Source: MQTT 5.0, 3.2: flags, reason code, properties; older versions send no properties.
        packet = self._in_packet["packet"]
        if len(packet) < 2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        reason, given = packet[1], properties_in(packet[2:])
        if reason:
            self._on_connack(reason, given or {})
            return MQTTErrorCode.MQTT_ERR_CONN_REFUSED
        if given is None:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._state = _ConnectionState.MQTT_CS_CONNECTED
        self._on_connack(0, given)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_disconnect(self) -> None:
        # Source: MQTT 5.0, 3.14: the reason code may be absent for 0x00, and the properties after any.
        packet = self._in_packet["packet"]
        given = properties_in(packet[1:])
        self._sock_close()
        self._on_server_disconnect(packet[0] if packet else 0, given or {})

    def _send_pingreq(self) -> MQTTErrorCode:
        if self._pinged_at is None:
            self._pinged_at = time.monotonic()
        return super()._send_pingreq()

    def _handle_pingresp(self) -> MQTTErrorCode:
        self._pinged_at = None
        return super()._handle_pingresp()

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        # Source: MQTT 5.0, 3.4: packet identifier, then the reason code, which may be absent for 0x00.
        packet = self._in_packet["packet"]
        if cmd != "PUBACK" or len(packet) < 2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        mid = int.from_bytes(packet[:2], "big")
        with self._out_message_mutex:
            if self._out_messages.pop(mid, None) is None:
                return MQTTErrorCode.MQTT_ERR_SUCCESS  # not ours: nothing waits for it
            self._inflight_messages -= 1
        self._on_puback(mid, packet[2] if len(packet) > 2 else 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _leave_writing_to_the_network_thread(_client: Client, _userdata: object, _socket: object) -> None:
    """That it exists is enough: paho wakes its thread by itself."""
