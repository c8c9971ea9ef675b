"""`snapshot`: a picture of a camera on `snapshots/{source}`, asked for by a command or by a rule."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from agent.contract import payloads
from agent.contract.command_args import SnapshotArgs
from agent.contract.objects import to_objects
from agent.contract.policy import Policy
from agent.contract.sources import CameraPart
from agent.contract.topics import Topics, expiry_s, snapshots_stream
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.domain.ids import SourceName
from agent.domain.stamp import Stamp, rfc3339
from agent.pipeline.commands.pictures import Picture, Pictures
from agent.pipeline.commands.simple import known_source
from agent.pipeline.frame_message import frame_message
from agent.pipeline.seeing import Seen
from agent.pipeline.supervise import in_thread
from agent.ports import Clock, Draft, Metrics, Outbox
from agent.vision.jpeg import Jpeg, encode_jpeg

log = structlog.get_logger(__name__)

_JPEG: Final = "image/jpeg"
_MOST_ASKED: Final = 8
_LIKE_RULES: Final = SnapshotArgs(source="any")


class Snapshots:
    """Takes pictures; `config_version` is that of the policy in force. Used on the event loop."""

    def __init__(
        self,
        *,
        pictures: Pictures,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        policy: Policy,
        config_version: Callable[[], int],
    ) -> None:
        self._pictures = pictures
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._config_version = config_version
        self._asked: asyncio.Queue[tuple[SourceName, str]] = asyncio.Queue(_MOST_ASKED)
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """Which cameras there are, how large a picture may be and how long it keeps, from now on."""
        self._has_model = {
            SourceName(name): stanza.model is not None
            for name, stanza in policy.sources.items()
            if isinstance(stanza, CameraPart) and stanza.enabled
        }
        self._most_bytes = policy.publish.max_message_bytes
        self._expiry_s = policy.publish.expiry_s.get("snapshots")

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        source = known_source(args, self._has_model)
        return await self._take(source, SnapshotArgs.model_validate(args), {})

    def request(self, source: SourceName, event_id: str) -> None:
        """A picture to go with an event. Never waits; where too many are asked for, it is left out."""
        try:
            self._asked.put_nowait((source, event_id))
        except asyncio.QueueFull:
            self._note_failure(source, Code.BUSY, "too many pictures are asked for at once")

    async def run(self) -> None:
        """Take what rules ask for, one after the other, until cancelled."""
        while True:
            source, event_id = await self._asked.get()
            try:
                name = known_source({"source": source}, self._has_model)
                await self._take(name, _LIKE_RULES, {"event": event_id})
            except NanofleetError as error:
                self._note_failure(source, error.code, error.message)

    async def _take(
        self, source: SourceName, wished: SnapshotArgs, why: Mapping[str, str]
    ) -> Mapping[str, Any]:
        picture = await self._pictures.next(source, has_model=self._has_model[source])
        most_bytes = self._most_bytes
        jpeg = await in_thread(
            f"jpeg[{source}]",
            lambda: encode_jpeg(
                picture.frame.pixels,
                quality=wished.quality,
                longest_side_px=wished.longest_side_px,
                most_bytes=most_bytes,
            ),
            yields=True,
        )
        if jpeg is None:
            raise RefusedError(
                f"even of the least quality it is larger than publish.max_message_bytes, {most_bytes}; "
                "ask for a smaller longest_side_px",
                code=Code.SIZE,
                path="/args/longest_side_px",
            )
        stream = snapshots_stream(source)
        about = self._about(picture, jpeg)
        await self._outbox.append(
            Draft(
                stream=stream,
                priority="snapshot",
                body=jpeg.body,
                made=self._clock.now(),
                captured=picture.frame.captured,
                content_type=_JPEG,
                expiry_s=self._expiry_s or expiry_s(stream),
                properties={**about, **why},
            )
        )
        self._metrics.count("snapshots_total", source=source, outcome="taken")
        detections = None if picture.seen is None else self._found(picture.seen)
        return {"stream": stream, "bytes": len(jpeg.body), **about, "detections": detections}

    def _about(self, picture: Picture, jpeg: Jpeg) -> dict[str, str]:
        """What the picture is of, as user properties: text, each of them."""
        frame = picture.frame
        about = {
            "source": frame.source,
            "time": rfc3339(frame.captured.wall_ns),
            "clock": "synced" if self._clock.synced() else "unsynced",
            "boot": self._clock.boot,
            "monotonic_ms": str(frame.captured.monotonic_ns // 1_000_000),
            "frame": str(frame.number),
            "width": str(jpeg.width_px),
            "height": str(jpeg.height_px),
            "quality": str(jpeg.quality),
            "config_version": str(self._config_version()),
        }
        if picture.seen is not None:
            model = picture.seen.result.model
            about |= {"model": model.name, "model_version": model.version, "model_sha256": model.sha256}
        return about

    def _found(self, seen: Seen) -> dict[str, Any]:
        """The message of the same frame, whether or not it was published."""
        result = seen.result
        message = frame_message(
            result,
            head=self._head(result.captured),
            objects=to_objects(
                result.detections,
                result.model.class_names,
                width_px=result.width_px,
                height_px=result.height_px,
                sightings=seen.scene.objects,
            ),
            config_version=self._config_version() if result.config_version is None else result.config_version,
            now=self._clock.now(),
        )
        return message.model_dump(mode="json", by_alias=True)

    def _head(self, at: Stamp) -> payloads.StreamHead:
        return payloads.stream_head(self._topics, at, synced=self._clock.synced(), boot=self._clock.boot)

    def _note_failure(self, source: SourceName, code: Code, message: str) -> None:
        self._metrics.count("snapshots_total", source=source, outcome="failed")
        log.warning("snapshot.not_taken", source=source, code=code, message=message)
