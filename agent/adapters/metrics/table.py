"""Every metric of the agent. A name that is used but not declared here is a programming error.

Labels take few values: sources, rules and models as the policy names them, and words from closed lists.
"""

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "nanofleet_"

Kind = Literal["count", "gauge", "observe"]
"""By the method of `ports.Metrics` that feeds it."""

STAGE_BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
END_TO_END_BUCKETS_S: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(60.0, 600.0, 3600.0, 86400.0),  # what waited for the network
)


@dataclass(frozen=True, slots=True)
class Metric:
    """`buckets` are upper bounds in seconds, of what is observed."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


TABLE: Final = (
    Metric(
        "stage_seconds",
        "observe",
        "Time of a frame or window in each stage between capture and PUBACK.",
        ("stage",),
        STAGE_BUCKETS_S,
    ),
    Metric("frames_inferred_total", "count", "Frames that went through a model.", ("source",)),
    Metric("frames_offered_total", "count", "Frames and windows that were captured.", ("source",)),
    Metric(
        "frames_dropped_total",
        "count",
        "Frames and windows that were not inferred, by cause.",
        ("source", "cause"),
    ),
    Metric(
        "windows_broken_total",
        "count",
        "Windows begun and given up, because a sample lacked a channel or had a bad one.",
        ("source",),
    ),
    Metric("objects_total", "count", "Objects that were detected.", ("source",)),
    Metric(
        "detections_withheld_total",
        "count",
        "Frames that no message tells of: empty, nothing else than told before, or beyond the rate.",
        ("source", "cause"),
    ),
    Metric(
        "frames_late_total",
        "count",
        "Frames that were inferred after a younger one, and so not tracked.",
        ("source",),
    ),
    Metric("source_restarts_total", "count", "Times a source failed, by code.", ("source", "code")),
    Metric("source_hangs_total", "count", "Times a source's thread hung and was abandoned.", ("source",)),
    Metric(
        "capture_to_ack_seconds",
        "observe",
        "Time from a frame's capture to the PUBACK of what was found in it.",
        (),
        END_TO_END_BUCKETS_S,
    ),
    Metric("outbox_commit_seconds", "observe", "Time of one group commit.", (), STAGE_BUCKETS_S),
    Metric("outbox_batch_rows", "gauge", "Messages in the last group commit."),
    Metric("outbox_syncs_total", "count", "Times that the outbox waited for the disk itself."),
    Metric("outbox_syncs_per_day", "gauge", "The same a day, of the last day or since the start."),
    Metric(
        "outbox_written_bytes_total",
        "count",
        "Bytes that the outbox's thread had the disk write, as the kernel counts them.",
    ),
    Metric("outbox_written_bytes_per_day", "gauge", "The same a day, of the last day or since the start."),
    Metric(
        "outbox_card_life_years",
        "gauge",
        "Years that a new card of outbox.card_endurance_tb would last at that rate.",
    ),
    Metric("outbox_rows", "gauge", "Messages that wait on disk."),
    Metric("outbox_bytes", "gauge", "Bytes that they take."),
    Metric("outbox_limit_bytes", "gauge", "Bytes that they may take before the oldest have to go."),
    Metric("outbox_oldest_s", "gauge", "Age of the oldest of them, as of the last heartbeat."),
    Metric("outbox_at_broker_rows", "gauge", "Those of them that the broker has and the consumer has not."),
    Metric("outbox_stored_ignored_total", "count", "Acks of consumers that say nothing.", ("reason",)),
    Metric("outbox_held_rows", "gauge", "Messages held in memory, because the disk refuses."),
    Metric(
        "lost_total",
        "count",
        "Messages dropped and declared lost, by stream and reason.",
        ("stream", "reason"),
    ),
    Metric("delivery_published_total", "count", "Rows sent to the broker; what is sent twice counts twice."),
    Metric("delivery_acknowledged_total", "count", "Rows that the broker has acknowledged with success."),
    Metric("delivery_unheard_total", "count", "Rows acknowledged though nobody subscribes (0x10)."),
    Metric("delivery_retried_total", "count", "Messages that the broker could not take, to be sent again."),
    Metric(
        "delivery_refused_total",
        "count",
        "Messages that the broker will never take, by reason code.",
        ("code",),
    ),
    Metric("delivery_culprits_total", "count", "Rows set aside because with each the connection broke."),
    Metric("delivery_backlog_rows", "gauge", "Rows that wait from before the session."),
    Metric("delivery_backlog_tokens", "gauge", "Rows of the backlog that may be sent at once."),
    Metric("delivery_live_lag_s", "gauge", "Age, when the broker has it, of what was made in the session."),
    Metric("delivery_in_flight", "gauge", "Messages at QoS 1 without an acknowledgement yet."),
    Metric("link_connected", "gauge", "1 while there is a session with the broker, else 0."),
    Metric("link_attempts_failed_total", "count", "Attempts to connect that failed, by cause.", ("cause",)),
    Metric(
        "certificate_days_left",
        "gauge",
        "Days until the node's certificate, or the last authority it trusts, expires; negative afterwards.",
    ),
    Metric(
        "certificate_life_left",
        "gauge",
        "Share of its life that the node's certificate has before it; negative afterwards.",
    ),
    Metric("link_lost_total", "count", "Sessions that ended unasked, by cause.", ("cause",)),
    Metric(
        "loop_lag_seconds",
        "observe",
        "How late the event loop wakes a task that sleeps.",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0),
    ),
    Metric("overload_rung", "gauge", "How far up the ladder the node is; 0 where everything is done."),
    Metric("overload_changes_total", "count", "Steps on that ladder, by direction.", ("direction",)),
    Metric(
        "shadow_frames_total",
        "count",
        "Frames that a second model was to look at, by what came of it.",
        ("source", "outcome"),
    ),
    Metric(
        "shadow_agreement", "gauge", "How far the second model agrees with the first, 0 to 1.", ("source",)
    ),
    Metric("commands_total", "count", "Commands that ended, by operation and how.", ("op", "status")),
    Metric(
        "commands_ignored_total",
        "count",
        "Messages below command/ without an answer: too many at once, or their topic names no command.",
        ("reason",),
    ),
    Metric("snapshots_total", "count", "Pictures asked for by commands and rules.", ("source", "outcome")),
    Metric("command_seconds", "observe", "Time that an operation took.", ("op",), STAGE_BUCKETS_S),
    Metric("rule_events_total", "count", "Events of each rule, by phase.", ("rule", "phase")),
    Metric(
        "rule_events_held_back_total",
        "count",
        "Events of each rule that began late, or not at all, because one had ended just before.",
        ("rule",),
    ),
    Metric("rules_active", "gauge", "Rules that have an event on."),
    Metric("healthy", "gauge", "1 where a source or stage is ok, else 0.", ("who",)),
    Metric("policy_version", "gauge", "Version of the policy in force."),
    Metric("clock_synced", "gauge", "1 while the wall clock is known to be right, else 0."),
    Metric(
        "temperature_celsius", "gauge", "The hottest sensor of each kind, as the heartbeat has it.", ("part",)
    ),
    Metric(
        "memory_left_bytes",
        "gauge",
        "Memory that may still be taken before the nearest limit: the board's, or a control group's.",
    ),
    Metric("memory_limit_bytes", "gauge", "That limit, with what others have taken of it."),
)
