"""How long certificates still last, and when a person has to hear of it."""

from typing import Final

from agent.adapters.mqtt.credentials import Credentials
from agent.domain.stamp import utc_text

_ALARM_BELOW: Final = 0.25
"""Of a certificate's life. A fleet is renewed at two thirds of it: whoever comes here was missed."""
_AUTHORITY_ALARM_S: Final = 7 * 86_400.0


def left_s(credentials: Credentials, *, now_s: float) -> float | None:
    """Seconds until our certificate, or the last authority we trust, expires; None where neither is known."""
    validity = credentials.validity
    ends = [validity.not_after_s if validity else None, credentials.trusted_until_s]
    return min((end - now_s for end in ends if end is not None), default=None)


def life_left(credentials: Credentials, *, now_s: float) -> float | None:
    """Share of its life that our certificate has before it; negative once it expired, None without one."""
    validity = credentials.validity
    if validity is None:
        return None
    lifetime_s = max(validity.not_after_s - validity.not_before_s, 1.0)
    return (validity.not_after_s - now_s) / lifetime_s


def warning(credentials: Credentials, *, now_s: float) -> str | None:
    """What to do before it is too late; None while there is time. `now_s`: seconds since 1970."""
    files, validity = credentials.files, credentials.validity
    share = life_left(credentials, now_s=now_s)
    if validity is not None and share is not None and share < _ALARM_BELOW:
        return _sentence(f"the certificate {files.certificate}", validity.not_after_s, now_s)
    until_s = credentials.trusted_until_s
    if until_s is not None and until_s - now_s < _AUTHORITY_ALARM_S:
        return _sentence(f"the last authority in {files.ca}", until_s, now_s)
    return None


def _sentence(what: str, end_s: float, now_s: float) -> str:
    end = utc_text(end_s)
    days = (end_s - now_s) / 86_400
    when = f"expired at {end}" if days < 0 else f"expires at {end}, in {days:.0f} days"
    return f"{what} {when}; put a new one in its place, and it is taken without a restart"
