"""The processes of a portal: their commands, and the environment that all of them share."""

from __future__ import annotations

import os
from typing import Final

import install
from addresses import Reach
from folder import DataFolder
from options import Options
from supervisor import Program

BIN: Final = install.VENV / "bin"
PYTHON: Final = str(install.VENV_PYTHON)
# What an operator may set; nothing else of the caller's environment reaches the portal.
PASSED_ON: Final = (
    "ALLOWED_HOSTS", "ALLOW_PLAIN_TCP", "ALLOW_PLAIN_VNC", "DATABASE_URL", "DATABASE_URL_FILE", "LOG_LEVEL", "PUBLIC_ORIGINS", "TIME_ZONE",
)  # fmt: skip


def environment(folder: DataFolder, reach: Reach) -> dict[str, str]:
    """Settings by name, secrets by file only, so that none shows in a listing of processes."""
    ours = {
        "PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "portal.settings.dev",
        "DATA_DIR": str(folder.root),
        "SECRET_KEY_FILE": str(folder.secret_key),
        "SEAL_KEYS_FILE": str(folder.seal_keys),
        "REDIS_URL": f"unix://{folder.redis_socket}",
        "ALLOWED_HOSTS": ",".join(host if ":" not in host else f"[{host}]" for host in reach.hosts),
        "PUBLIC_ORIGINS": ",".join(reach.origins),
    }
    return ours | {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}


def manage(*arguments: str) -> list[str]:
    """A Django management command."""
    return [PYTHON, str(install.REPOSITORY / "manage.py"), *arguments]


def redis(folder: DataFolder) -> Program:
    """A Redis of our own: no TCP port, a socket for the owner alone, nothing on disk (losing it loses nothing)."""
    options = {
        "port": "0", "unixsocket": str(folder.redis_socket), "unixsocketperm": "600", "dir": str(folder.root / "redis"),
        "save": "", "appendonly": "no", "daemonize": "no", "maxmemory": "256mb", "maxmemory-policy": "noeviction",
    }  # fmt: skip
    # Redis reads its options from the command line too, but an empty value only from a file.
    config = folder.root / "redis" / "redis.conf"
    config.write_text("".join(f'{name} "{value}"\n' for name, value in options.items()))
    return Program("redis", ["redis-server", str(config)])


def worker() -> Program:
    """Three processes: one for a conversion or a copy, one for an inspection of an image, and one is always free for short steps."""
    options = ["--pool=prefork", "--concurrency=3", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
    return Program("worker", [str(BIN / "celery"), "-A", "portal", "worker", *options])


def beat(folder: DataFolder) -> Program:
    options = [f"--schedule={folder.root / 'beat' / 'schedule'}", "--pidfile=", "--loglevel=INFO"]
    return Program("beat", [str(BIN / "celery"), "-A", "portal", "beat", *options])


def watcher() -> Program:
    return Program("watcher", manage("watch"))


def web(options: Options, reach: Reach) -> Program:
    """The ASGI server, as every installation runs it (portal/serve.py)."""
    command = [PYTHON, "-m", "portal.serve", f"--host={options.bind}", f"--port={options.port}"]
    if reach.certificate:
        command += [f"--certificate={reach.certificate}", f"--key={reach.key}"]
    return Program("web", command)


def has(command: str) -> bool:
    """Whether an app brings this management command."""
    return any(install.REPOSITORY.glob(f"*/management/commands/{command}.py"))
