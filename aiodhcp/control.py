"""Control: what an administrator asks of a running server, on a unix-domain socket. A JSON object a line, both ways.

``{"command": "delete", "address": "192.0.2.10"}`` → ``{"ok": true, "result": ...}``, ``{"ok": false, "error": "..."}``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import math
import os
import socket
import stat
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from aiodhcp.config import Settings, load_config
from aiodhcp.constants import message_name
from aiodhcp.errors import AiodhcpError, ConfigError
from aiodhcp.exchange import Exchange
from aiodhcp.hooks import Hooks
from aiodhcp.leases import Lease, LeaseState
from aiodhcp.registration import Plugin
from aiodhcp.server import DhcpServer
from aiodhcp.subnets import Config
from aiodhcp.utilisation import utilisation

__all__ = ["ControlSocket", "NotRunning", "Reloads", "ask", "declined_report", "explained", "hooks_report"]

log = logging.getLogger("aiodhcp.control")

LONGEST_PATH: Final = 100
"""Octets. Linux has room for 107, other systems for 103."""
LONGEST_LINE: Final = 64 * 1024
"""Octets of a question."""
LONGEST_ANSWER: Final = 64 * 1024 * 1024
MOST_CONNECTIONS: Final = 8
IDLE_TIMEOUT: Final = 60.0
"""Seconds in which a client has to say something, and to take an answer."""
PATIENCE: Final = 60.0
"""Seconds that ``ask`` waits for an answer: a reload waits for packets and for plugins."""
RELOAD_PATIENCE: Final = 5.0
"""Seconds that a stopping server waits for the end of a reload."""
MOST_EXPLAINED: Final = 100
"""Exchanges in one answer, the last ones."""
MOST_NOTES: Final = 100
"""Notes of plugins in shadow mode in one answer, the last ones."""

Reload = Callable[[], Awaitable[str]]


class NotRunning(AiodhcpError):
    """Nobody listens on the control socket."""


class ControlSocket:
    """The socket of one server. What goes wrong on it is the client's to hear, and does the server no harm.

    Args:
        server: the server.
        path: of the socket; its directory is made if it is missing. Whoever may not write to it can't ask.
        reload: reads the configuration again and says in words what came of it; raises ``AiodhcpError`` if nothing.
    """

    def __init__(self, server: DhcpServer, path: Path, reload: Reload) -> None:
        self.path = path
        self._server = server
        self._listening: asyncio.Server | None = None
        self._inode = 0
        self._conversations: set[asyncio.Task[None]] = set()
        self._commands: Mapping[str, Callable[..., Awaitable[Any]]] = {
            "health": self._health,
            "stats": self._stats,
            "hooks": self._hooks,
            "explain": self._explain,
            "delete": self._delete,
            "declined": self._declined,
            "force-renew": self._force_renew,
            "cursors": self._cursors,
            "reload": reload,
            "pause": self._pause,
            "resume": self._resume,
        }

    async def start(self) -> None:
        """Listen. Where that can't be, the log says why, and the server does without.

        Raises:
            AiodhcpError: another server listens there, or a file is there that is no socket.
        """
        if self._listening is not None:
            raise RuntimeError("the control socket is open already")
        if not hasattr(asyncio, "start_unix_server"):  # pragma: no cover - Windows
            log.info("there is no control socket: this system has none for asyncio")
            return
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            log.warning("there is no control socket: %s is longer than %d octets", self.path, LONGEST_PATH)
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            await self._clear_away()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                sock.bind(os.fspath(self.path))
                # Before it listens: nobody can have connected yet.
                self.path.chmod(0o600)
                self._inode = self.path.stat().st_ino
                self._listening = await asyncio.start_unix_server(self._connected, sock=sock, limit=LONGEST_LINE)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            log.warning("there is no control socket: %s: %s", self.path, error.strerror or error)
            return
        log.debug("the control socket is %s", self.path)

    async def close(self) -> None:
        """Answer nobody any more, and remove the socket. May be called twice."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        listening.close()
        for each in self._conversations:
            each.cancel()
        if self._conversations:
            await asyncio.wait(self._conversations)
        try:
            # Not that of another server, which has come in its place.
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        except OSError:
            pass

    async def _clear_away(self) -> None:
        """Remove what a server that died has left behind."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise AiodhcpError(f"control socket {self.path}: a file is there that is no socket")
        try:
            _, writer = await asyncio.open_unix_connection(os.fspath(self.path))
        except ConnectionRefusedError:
            self.path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        else:
            writer.close()
            raise AiodhcpError(f"control socket {self.path}: another server runs there")

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────────

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._conversations) >= MOST_CONNECTIONS:
            writer.write(_refusal(f"there are {MOST_CONNECTIONS} connections already"))
            writer.close()
            return
        task = asyncio.create_task(self._converse(reader, writer), name="aiodhcp control")
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(IDLE_TIMEOUT):
                    line = await reader.readline()
                if not line:
                    return
                writer.write(await self._answer(line))
                async with asyncio.timeout(IDLE_TIMEOUT):
                    await writer.drain()
        except ValueError:
            writer.write(_refusal(f"a line of more than {LONGEST_LINE} octets"))
        except (OSError, TimeoutError, asyncio.CancelledError):  # cancelled, it ends here anyway
            writer.transport.abort()
        except Exception:
            log.exception("a fault of aiodhcp, please report it")
        finally:
            await _closed(writer)

    async def _answer(self, line: bytes) -> bytes:
        try:
            question = json.loads(line)
        except (ValueError, RecursionError) as error:
            return _refusal(f"expected a JSON object in a line: {error}")
        if not isinstance(question, dict) or not isinstance(question.get("command"), str):
            return _refusal('expected an object with a command, like {"command": "health"}')
        name = question.pop("command")
        command = self._commands.get(name)
        if command is None:
            return _refusal(f"there is no command {name!r}; there are {', '.join(self._commands)}")
        try:
            inspect.signature(command).bind(**question)
        except TypeError as error:
            return _refusal(f"{name}: {error}")
        wrong = [key for key, value in question.items() if not isinstance(value, str)]
        if wrong:
            return _refusal(f"{name}: {wrong[0]}: expected text, got {question[wrong[0]]!r}")
        try:
            return _line({"ok": True, "result": await command(**question)})
        except (AiodhcpError, ValueError, RuntimeError) as error:
            return _refusal(str(error) or repr(error))
        except Exception as error:
            log.exception("a fault of aiodhcp, please report it")
            return _refusal(f"a fault of the server: {error!r}")

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _health(self) -> dict[str, Any]:
        return asdict(self._server.health)

    async def _stats(self) -> dict[str, Any]:
        engine = self._server.engine
        return {
            "health": asdict(self._server.health),
            "leases": len(self._server.leases),
            "received": _by_name(engine.received),
            "sent": _by_name(engine.sent),
            "dropped": {reason.name: count for reason, count in sorted(engine.dropped.items())},
            "vetoed": engine.vetoed,
            **utilisation(engine.addresses),
        }

    async def _hooks(self) -> dict[str, Any]:
        return hooks_report(self._server.hooks)

    async def _explain(self, hardware_address: str = "") -> list[dict[str, Any]]:
        if not self._server.engine.tracing:
            raise AiodhcpError("the server keeps no exchanges: set explain = 1000 in its configuration, and restart it")
        return [explained(each) for each in self._server.exchanges(hardware_address)[-MOST_EXPLAINED:]]

    async def _delete(self, address: str) -> dict[str, Any] | None:
        lease = await self._server.delete_lease(address)
        if lease is None:
            return None
        log.info("an administrator deleted the lease of %s, client=%s", lease.ip, lease.hardware_address or "-")
        return {
            "address": str(lease.ip),
            "state": lease.state.name.lower(),
            "client": lease.client.hex(":"),
            "hardware_address": lease.hardware_address,
            "hostname": lease.hostname,
        }

    async def _declined(self, clear: str = "") -> list[dict[str, Any]]:
        """The declined addresses; or those that are no longer, with ``clear`` an address or "all"."""
        found = self._server.leases.of_state(LeaseState.DECLINED)
        if clear and clear != "all":
            found = [lease for lease in found if lease.address == int(IPv4Address(clear))]
        if clear:
            found = [lease for lease in found if await self._clear(lease)]
        return declined_report(found)

    async def _clear(self, declined: Lease) -> bool:
        """End a probation, if it hasn't ended meanwhile."""
        if self._server.leases.get(declined.address) != declined:
            return False
        await self._server.delete_lease(declined.address)
        log.info("an administrator ended the probation of %s", declined.ip)
        return True

    async def _force_renew(self, who: str) -> dict[str, Any]:
        """Addresses, networks and hardware addresses, with spaces between."""
        told, refused = await self._server.force_renew(*who.split())
        log.info("an administrator lets clients renew: %d are told, %d can't be", len(told), len(refused))
        return {"told": [str(each) for each in told], "refused": refused}

    async def _cursors(self, drop: str = "") -> list[dict[str, Any]]:
        """The cursors of consumers of events; or those that are no longer, with ``drop`` the name of one."""
        found = [asdict(each) for each in await self._server.cursors() if drop in ("", each.name)]
        if drop and found:
            await self._server.drop_cursor(drop)
            log.info("an administrator dropped the cursor %r, which was %d events behind", drop, found[0]["behind"])
        return found

    async def _pause(self) -> dict[str, Any]:
        await self._server.pause()
        log.info("an administrator paused the server")
        return asdict(self._server.health)

    async def _resume(self) -> dict[str, Any]:
        await self._server.resume()
        log.info("an administrator resumed the server")
        return asdict(self._server.health)


class Reloads:
    """Reads a running server's configuration file again, one time after the other.

    Args:
        server: the server.
        settings: what it goes by now.
        file: where that is from; None for the command line.
        log_as: sets up the log as a configuration has it.

    Attributes:
        may_begin: set when the server runs; until then, reloads wait.
    """

    def __init__(
        self, server: DhcpServer, settings: Settings, file: Path | None, log_as: Callable[[Settings], None]
    ) -> None:
        self.may_begin = asyncio.Event()
        self._server = server
        self._settings = settings
        self._file = file
        self._log_as = log_as
        self._one = asyncio.Lock()
        self._wanted = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Reload in the background; after a reload that is under way, once however often this is called meanwhile."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="aiodhcp reload")

    async def end(self) -> None:
        """The server stopped: wait for a reload that is under way, but not for long."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=RELOAD_PATIENCE)
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._wanted:
            try:
                await self.reload(by_signal=True)
            except (AiodhcpError, RuntimeError) as error:
                for line in str(error).splitlines():
                    log.error("not reloaded: %s", line)
            except Exception:
                log.exception("not reloaded: a fault of aiodhcp, please report it")

    async def reload(self, *, by_signal: bool = False) -> str:
        """Reload, after the reloads that are under way.

        Returns:
            what is served now, in words.

        Raises:
            ConfigError: there is no file, something in it is wrong, a plugin refuses, or a key changed that only a
                restart can change. Nothing is changed then.
            RuntimeError: the server does not run.
        """
        await self.may_begin.wait()
        async with self._one:
            if by_signal:
                self._wanted = False
            if self._file is None:
                raise ConfigError("there is nothing to reload: the server was started without a configuration file")
            # Reading a long file takes a while, in which packets are answered.
            settings, config = await asyncio.to_thread(_read, self._file)
            fixed = self._settings.restart_needed(settings)
            if fixed:
                raise ConfigError(f"{self._file}: only a restart can change {', '.join(fixed)}")
            await self._server.reload(config, await settings.make_plugins_soon())
            self._settings = settings
            self._log_as(settings)
            return f"reloaded: {len(config.subnets)} subnets, {len(self._server.hooks.plugins)} plugins"


def _read(file: Path) -> tuple[Settings, Config]:
    settings = load_config(file)
    return settings, settings.config()


def hooks_report(hooks: Hooks) -> dict[str, Any]:
    """What is loaded, in the order of calling, and how it does, as JSON has it.

    Returns:
        "plugins": a table each; "hooks": the ``HookMetrics`` of each implementation, an infinite number of seconds as
        None; "shadow": the last notes of plugins in shadow mode.
    """
    metrics = [asdict(each) for each in hooks.metrics]
    for each in metrics:
        each["histogram"] = [[None if seconds == math.inf else seconds, count] for seconds, count in each["histogram"]]
    return {
        "plugins": [
            {
                "name": plugin.name,
                "source": plugin.source,
                "settings": _settings(plugin),
                "state": _state([each["state"] for each in metrics if each["plugin"] == plugin.name]),
            }
            for plugin in hooks.plugins
        ],
        "hooks": metrics,
        "shadow": [asdict(note) for note in list(hooks.shadow_notes)[-MOST_NOTES:]],
    }


def declined_report(leases: Iterable[Lease]) -> list[dict[str, Any]]:
    """Declined addresses as JSON has them, in order.

    Returns:
        for each "address"; "hardware_address" of the client that declined it, empty where the server itself found it
            in use; "answered", what told the server so, empty where it was a client; "since" and "until", seconds
            since 1970.
    """
    return [
        {
            "address": str(lease.ip),
            "hardware_address": lease.hardware_address if lease.htype else "",
            "answered": "" if lease.htype else f"ARP from {lease.hardware_address}" if lease.chaddr else "ICMP echo",
            "since": lease.starts,
            "until": lease.expires,
        }
        for lease in sorted(leases)
    ]


def explained(exchange: Exchange) -> dict[str, Any]:
    """An exchange and why it came to what it came to, as JSON has it: "facts" are pairs of what and how."""
    return {
        "when": exchange.now,
        "hardware_address": exchange.hardware_address,
        "facts": [[fact.what, fact.words] for fact in exchange.explain()],
    }


async def ask(path: Path, command: str, **arguments: str) -> Any:
    """Ask a running server.

    Args:
        path: its control socket.
        command: what to do.
        **arguments: of the command.

    Returns:
        the result, as JSON has it.

    Raises:
        NotRunning: nobody listens there.
        AiodhcpError: it may not be asked, refuses, or does not answer; in words for people.
    """
    if not hasattr(asyncio, "open_unix_connection"):  # pragma: no cover - Windows
        raise NotRunning("this system has no control sockets")
    try:
        reader, writer = await asyncio.open_unix_connection(os.fspath(path), limit=LONGEST_ANSWER)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(f"no server runs: nobody listens on the control socket {path}") from None
    except PermissionError:
        raise AiodhcpError(f"{path}: permission denied: be root, or the user that the server runs as") from None
    except OSError as error:
        raise AiodhcpError(f"{path}: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(_line({"command": command, **arguments}))
            line = await reader.readline()
        answer = json.loads(line)
    except TimeoutError:
        raise AiodhcpError(f"the server did not answer within {PATIENCE:g} seconds") from None
    except (OSError, ValueError):
        raise AiodhcpError("the server went away before it answered") from None
    finally:
        writer.transport.abort()
        await _closed(writer)
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise AiodhcpError(str(answer["error"]) if isinstance(answer, dict) and "error" in answer else repr(answer))
    return answer.get("result")


async def _closed(writer: asyncio.StreamWriter) -> None:
    """What is written may still be read, for a while."""
    writer.close()
    try:
        async with asyncio.timeout(IDLE_TIMEOUT):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


def _line(value: object) -> bytes:
    return json.dumps(value, default=str).encode() + b"\n"


def _refusal(words: str) -> bytes:
    return _line({"ok": False, "error": words})


def _by_name(counts: Counter[int]) -> dict[str, int]:
    return {message_name(kind): count for kind, count in sorted(counts.items())}


def _settings(plugin: Plugin) -> Any:
    dump = getattr(plugin.settings, "model_dump", None)
    if dump is None:
        return plugin.settings
    try:
        return dump(mode="json")
    except ValueError:  # of a type that pydantic doesn't know
        return str(plugin.settings)


def _state(states: list[str]) -> str:
    """A plugin's, of those of its hooks: the worst."""
    return next((state for state in ("disabled", "open", "shadow", "working") if state in states), "has no hooks")
