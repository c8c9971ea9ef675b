"""What may be told of Settings to whoever may ask for a diagnosis: nothing that opens a door."""

from typing import Any

from agent.settings.model import Settings


def told(settings: Settings) -> dict[str, Any]:
    """Names, places and bounds. No command, user name or password file, and of keys only that there are any.

    What is not named here is not told: a setting that comes later has to be put in on purpose.
    """
    broker = settings.broker
    return {
        "site": settings.site,
        "node": settings.node,
        "state_dir": str(settings.state_dir),
        "policy_file": str(settings.policy_file),
        "media_root": str(settings.media_root),
        "allowed_hosts": [str(rule) for rule in settings.allowed_hosts],
        "broker": {
            "host": broker.host,
            "port": broker.port,
            "tls": broker.tls,
            "with_certificate": broker.cert_file is not None,
            "with_password": broker.password_file is not None,
            "keepalive_s": broker.keepalive_s,
            "connect_timeout_s": broker.connect_timeout_s,
        },
        "outbox": settings.outbox.model_dump(mode="json"),
        "pipes": {
            name: {"width_px": pipe.width_px, "height_px": pipe.height_px, "format": pipe.format}
            for name, pipe in settings.pipes.items()
        },
        "secrets": {
            name: {"hosts": [str(rule) for rule in secret.hosts]} for name, secret in settings.secrets.items()
        },
        "http": settings.http.listen,
        "log_level": settings.log.level,
    }
