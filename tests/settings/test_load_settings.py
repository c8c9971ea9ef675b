"""Settings from file, environment and secret files, and what is told of wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.contract.problems import Problem
from agent.domain.errors import Code, ConfigError
from agent.settings import InvalidConfigError, LoopbackPort, Settings, UnixSocket, load_settings

MINIMAL = 'site = "plant"\nnode = "nano-42"\n[broker]\nhost = "broker.plant.example"\n'

WriteSettings = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteSettings:
    def write_settings(text: str) -> Path:
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write_settings


def load(path: Path | None, **environ: str) -> Settings:
    return load_settings(path, environ=environ)


def problems_of(path: Path | None, **environ: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidConfigError) as caught:
        load(path, **environ)
    return caught.value.problems


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_three_keys_are_enough(write: WriteSettings) -> None:
    settings = load(write(MINIMAL))
    assert (settings.site, settings.node, settings.broker.host) == (
        "plant",
        "nano-42",
        "broker.plant.example",
    )
    assert (settings.broker.port, settings.broker.tls, settings.broker.keepalive_s) == (8883, True, 20)
    assert settings.outbox_file == Path("/var/lib/nanofleet/outbox.sqlite3")
    assert settings.http.place == LoopbackPort("127.0.0.1", 9464)
    assert settings.broker.password() is None


def test_settings_cannot_be_changed(write: WriteSettings) -> None:
    settings = load(write(MINIMAL))
    with pytest.raises(ValidationError, match="frozen"):
        settings.site = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "hint"),
    [
        ('node = "n"\n[broker]\nhost = "h"\n', 1, "site", "'site' is missing", "a name"),
        ('site = "p"\nnode = "n"\n', 1, "broker", "'broker' is missing", ""),
        ('site = "Plant"\nnode = "n"\n[broker]\nhost = "h"\n', 1, "site", "is no name", ""),
        (MINIMAL + "prot = 8883\n", 5, "broker.prot", "no key", "did you mean 'port'?"),
        (MINIMAL + 'password = "hunter2"\n', 5, "broker.password", "no key", "did you mean 'password_file'?"),
        (MINIMAL + "port = 0\n", 5, "broker.port", "from 1 to 65535 is wanted here, not 0", "TCP"),
        (MINIMAL + 'cert_file = "a"\n', 3, "broker", "key_file is missing", ""),
        (MINIMAL + 'password_file = "a"\n', 3, "broker", "username is missing", ""),
        (MINIMAL + 'allow_insecure = true\nca_file = "a"\n', 3, "broker", "ca_file would mean nothing", ""),
        (MINIMAL + '[http]\nlisten = "0.0.0.0:9464"\n', 6, "http.listen", "open to the network", ""),
        (MINIMAL + '[http]\nlisten = "example.org:80"\n', 6, "http.listen", "open to the network", ""),
        (MINIMAL + '[http]\nlisten = "127.0.0.1"\n', 6, "http.listen", "no place to listen", ""),
        (MINIMAL + '[http]\nlisten = "[::1]:99999"\n', 6, "http.listen", "no place to listen", ""),
        (
            MINIMAL + '[log]\nlevel = "loud"\n',
            6,
            "log.level",
            "debug, info, warning or error is wanted here, not 'loud'",
            "",
        ),
        (
            MINIMAL + '[log]\nlevel = "wraning"\n',
            6,
            "log.level",
            "not 'wraning'",
            "did you mean warning?",
        ),
        ('allowed_hosts = [\n"a",\n"http://b"]\n' + MINIMAL, 3, "allowed_hosts[1]", "names no host", ""),
        (
            MINIMAL + '[pipes.csi]\ncommand = "gst-launch-1.0"\nwidth_px = 64\nheight_px = 64\n',
            6,
            "pipes.csi.command",
            "a list of at least 1, each a text is wanted here",
            "no shell reads it",
        ),
        (
            MINIMAL + '[pipes.csi]\ncommand = ["true"]\nwidth_px = 65\nheight_px = 64\nformat = "nv12"\n',
            5,
            "pipes.csi",
            "even sides are wanted",
            "",
        ),
        (
            MINIMAL + '[secrets.cam]\nusername = "u"\npassword_file = "f"\nhosts = []\n',
            8,
            "secrets.cam.hosts",
            "and this has 0",
            "",
        ),
        (MINIMAL + '[secrets.Cam]\nusername = "u"\n', 5, "secrets.Cam", "is no name", ""),
        (MINIMAL + "[outbox]\nmax_bytes = 5\n", 6, "outbox.max_bytes", "at least 1048576", "dropped"),
        (
            MINIMAL + "[outbox]\nreserve_percent = 30\nmax_percent.detections = 80\n",
            5,
            "outbox",
            "max_percent.detections is 80, and reserve_percent keeps 30 for events: at most 70 is wanted",
            "",
        ),
        (MINIMAL + "[outbox]\nreserve_percent = 50\n", 5, "outbox", "nothing would be sure for det", ""),
        (
            MINIMAL + "[outbox]\nmax_percent.events = 10\n",
            5,
            "outbox",
            "less than the 20 that reserve_percent keeps",
            "",
        ),
        (
            MINIMAL + "[outbox]\nmax_age_s = 3600\nmax_ages_s.telemetry = 7200\n",
            5,
            "outbox",
            "max_ages_s.telemetry is 7200, longer than max_age_s",
            "",
        ),
        (
            MINIMAL + "[outbox]\ncommit_interval_ms = 5000\n",
            6,
            "outbox.commit_interval_ms",
            "from 0 to 1000 is wanted here, not 5000",
            "flash",
        ),
    ],
)
def test_wrong_settings_are_told_by_line_and_path(
    write: WriteSettings, text: str, line: int, path: str, message: str, hint: str
) -> None:
    file = write(text)
    problem = problems_of(file)[0]
    assert (problem.file, problem.line, problem.dotted) == (str(file), line, path)
    assert message in problem.message
    assert hint in problem.hint
    assert "hunter2" not in str(problem)


def test_all_problems_of_a_file_are_told_at_once(write: WriteSettings) -> None:
    file = write('site = "P"\nnod = "n"\n[broker]\nport = 0\n[log]\nlevel = 5\n')
    told = [(each.line, each.dotted) for each in problems_of(file)]
    assert told == [
        (1, "node"),
        (1, "site"),
        (2, "nod"),
        (3, "broker.host"),
        (4, "broker.port"),
        (6, "log.level"),
    ]


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "agent.toml")
    assert (problem.code, problem.line) == (Code.FILE, None)
    assert "No such file" in problem.message


def test_the_error_is_a_config_error_that_prints_everything(write: WriteSettings) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write('site = "P"\n'))
    assert str(caught.value).count("\n    ") >= 2
    assert "agent.toml:1: site: 'P' is no name" in str(caught.value)


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:80", LoopbackPort("127.0.0.1", 80)),
        ("[::1]:80", LoopbackPort("::1", 80)),
        ("localhost:80", LoopbackPort("localhost", 80)),
        ("/run/nanofleet/http.sock", UnixSocket(Path("/run/nanofleet/http.sock"))),
        ("off", None),
    ],
)
def test_places_to_listen_are_taken_apart(
    write: WriteSettings, listen: str, place: LoopbackPort | UnixSocket | None
) -> None:
    assert load(write(MINIMAL + f'[http]\nlisten = "{listen}"\n')).http.place == place


def test_relative_paths_are_meant_from_the_folder_of_the_file(
    write: WriteSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "ca.pem").write_text("a certificate")
    settings = load(write('state_dir = "state"\n' + MINIMAL + 'ca_file = "ca.pem"\n'))
    assert (settings.state_dir, settings.broker.ca_file) == (tmp_path / "state", tmp_path / "ca.pem")


def test_variables_win_over_the_file(write: WriteSettings) -> None:
    settings = load(
        write(MINIMAL + "port = 1883\n"),
        NANOFLEET_BROKER__PORT="8884",
        NANOFLEET_SITE="other",
        NANOFLEET_ALLOWED_HOSTS="camera-1, 10.1.0.0/16",
        NANOFLEET_LOG__LEVEL="debug",
        NANOFLEET_NODE="",
        NANOFLEET_TESTDATA="/nowhere",
        HOME="/root",
    )
    assert (settings.site, settings.node, settings.log.level) == ("other", "nano-42", "debug")
    assert (settings.broker.host, settings.broker.port) == ("broker.plant.example", 8884)
    assert settings.allowed_hosts == ("camera-1", "10.1.0.0/16")


def test_variables_alone_are_enough() -> None:
    settings = load(
        None,
        NANOFLEET_SITE="plant",
        NANOFLEET_NODE="n",
        NANOFLEET_BROKER='{"host": "h", "keepalive_s": 30}',
        NANOFLEET_BROKER__PORT="1",
        NANOFLEET_PIPES__CSI__COMMAND='["true"]',
        NANOFLEET_PIPES__CSI__WIDTH_PX="64",
        NANOFLEET_PIPES__CSI__HEIGHT_PX="48",
    )
    assert (settings.broker.host, settings.broker.port, settings.broker.keepalive_s) == ("h", 1, 30)
    assert settings.pipes["csi"].command == ("true",)
    assert settings.pipes["csi"].width_px == 64


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("NANOFLEET_BROKER_HOST", "h", "no setting 'broker_host'", "did you mean NANOFLEET_BROKER__HOST?"),
        ("NANOFLEET_BROKER__HSOT", "h", "no setting 'broker.hsot'", "did you mean NANOFLEET_BROKER__HOST?"),
        ("NANOFLEET_STIE", "h", "no setting 'stie'", "did you mean NANOFLEET_SITE?"),
        ("NANOFLEET_SITE__X", "h", "no setting 'site.x'", ""),
        ("NANOFLEET_XYZZY", "h", "no setting 'xyzzy'", "settings.md"),
        (
            "NANOFLEET_SECRETS__CAM__USERNAM",
            "h",
            "no setting 'secrets.cam.usernam'",
            "did you mean NANOFLEET_SECRETS__CAM__USERNAME?",
        ),
        (
            "NANOFLEET_BROKER__PASSWORD",
            "hunter2",
            "no setting",
            "did you mean NANOFLEET_BROKER__PASSWORD_FILE?",
        ),
        ("NANOFLEET_BROKER__PORT", "many", "from 1 to 65535 is wanted here, not 'many'", "TCP"),
        ("NANOFLEET_BROKER", "h", "no JSON object", ""),
        ("NANOFLEET_ALLOWED_HOSTS", "[a", "no JSON array", "one,two"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(
    write: WriteSettings, name: str, value: str, message: str, hint: str
) -> None:
    (problem,) = problems_of(write(MINIMAL), **{name: value})
    assert (problem.file, problem.line) == (f"${name}", None)
    assert message in problem.message
    assert hint in problem.hint
    assert "hunter2" not in str(problem)


def test_a_password_is_read_from_its_file_and_never_shown(write: WriteSettings, tmp_path: Path) -> None:
    private(tmp_path / "password", "hunter2\n")
    settings = load(write(MINIMAL + 'username = "u"\npassword_file = "password"\n'))
    password = settings.broker.password()
    assert password is not None
    assert password.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{settings!r} {password!r} {settings.model_dump_json()}"


def test_a_new_password_needs_no_restart(write: WriteSettings, tmp_path: Path) -> None:
    private(tmp_path / "password", "old")
    text = '[secrets.cam]\nusername = "u"\npassword_file = "password"\nhosts = ["h"]\n'
    secret = load(write(MINIMAL + text)).secrets["cam"]
    private(tmp_path / "password", "new")
    assert secret.password().get_secret_value() == "new"


def test_a_relative_credential_is_looked_for_at_systemd_first(write: WriteSettings, tmp_path: Path) -> None:
    handed_over = tmp_path / "credentials"
    handed_over.mkdir()
    private(tmp_path / "password", "beside")
    private(handed_over / "password", "handed over", mode=0o400)
    file = write(MINIMAL + 'username = "u"\npassword_file = "password"\n')
    with_systemd = load(file, CREDENTIALS_DIRECTORY=str(handed_over)).broker.password()
    without = load(file).broker.password()
    assert with_systemd is not None
    assert without is not None
    assert (with_systemd.get_secret_value(), without.get_secret_value()) == ("handed over", "beside")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "there is no file"),
        ("hunter2", 0o644, "chmod 0640"),
        ("hunter2", 0o602, "chmod 0640"),
        ("", 0o600, "is empty"),
        ("\n", 0o600, "is empty"),
        ("hunter2\nhunter2\n", 0o600, "more than one line"),
    ],
)
def test_a_password_file_that_will_not_do_is_told(
    write: WriteSettings, tmp_path: Path, content: str | None, mode: int, words: str
) -> None:
    if content is not None:
        private(tmp_path / "password", content, mode)
    (problem,) = problems_of(write(MINIMAL + 'username = "u"\npassword_file = "password"\n'))
    assert (problem.line, problem.dotted, problem.code) == (6, "broker.password_file", Code.FILE)
    assert words in problem.message
    assert "hunter2" not in str(problem)


def test_files_that_are_named_have_to_be_there(write: WriteSettings, tmp_path: Path) -> None:
    private(tmp_path / "node.key", "a key", mode=0o644)
    (tmp_path / "state").write_text("not a folder")
    file = write(
        'state_dir = "state"\n'
        + MINIMAL
        + 'ca_file = "ca.pem"\ncert_file = "node.pem"\nkey_file = "node.key"\n'
        '[pipes.csi]\ncommand = ["no-such-program"]\nwidth_px = 64\nheight_px = 64\n'
    )
    assert [(each.line, each.dotted) for each in problems_of(file)] == [
        (1, "state_dir"),
        (6, "broker.ca_file"),
        (7, "broker.cert_file"),
        (8, "broker.key_file"),
        (10, "pipes.csi.command[0]"),
    ]
    assert load_settings(file, environ={}, look_at_files=False).node == "nano-42"
