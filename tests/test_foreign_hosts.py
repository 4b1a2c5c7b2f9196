"""Hosts without our runtime: proven and sent the signal that the user names, or not, and that is said. Real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ticker
from harness import HostProcess, Project, need, until
from hotreload_engine import foreign
from hotreload_engine.model import Foreign
from snippets import block, shows

SERVER = r"""
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
static void on(int number) { (void)number; }
static void serve(const char *library)
{
    static void *handle;
    const char *(*text)(void);
    if (handle) dlclose(handle);
    handle = dlopen(library, RTLD_NOW);
    text = handle ? (const char *(*)(void))dlsym(handle, "text") : NULL;
    puts(text ? text() : "nothing");
    fflush(stdout);
}
int main(int count, char **words) /* LIBRARY MODE [PIDFILE] */
{
    sigset_t set, none;
    struct signalfd_siginfo what;
    int waiter;
    FILE *file = count > 3 ? fopen(words[3], "w") : NULL;
    sigemptyset(&none);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    if (!strcmp(words[2], "catches") || !strcmp(words[2], "waits")) sigprocmask(SIG_BLOCK, &set, NULL);
    if (!strcmp(words[2], "catches")) signal(SIGUSR1, on);
    if (!strcmp(words[2], "ignores")) signal(SIGUSR1, SIG_IGN);
    if (file) {
        fprintf(file, "%d\nmore\n", (int)getpid());
        fclose(file);
    }
    waiter = signalfd(-1, &set, SFD_CLOEXEC);
    for (;;) {
        serve(words[1]);
        if (!strcmp(words[2], "waits")) {
            if (read(waiter, &what, sizeof what) < 0) return 1;
        } else if (!strcmp(words[2], "catches")) sigsuspend(&none);
        else for (;;) pause();
    }
}
"""
PLUGIN = 'const char *text(void) { return "code one"; }\n'
SCONSTRUCT = """\
env = Environment(tools=["default", "hotreload"])
plug = env.SharedLibrary("build/plug", "plug.c")
env.HotReload(plugins=[plug]{more})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("server")
    (place / "server.c").write_text(SERVER)
    subprocess.run([need("gcc"), "-o", "server", "server.c", "-ldl"], cwd=place, check=True)
    return place / "server"


class Servers:
    """Starts servers and ends them."""

    def __init__(self, program: Path, place: Path) -> None:
        self.program = program
        self.place = place
        self.started: list[HostProcess] = []

    def __call__(self, *words: str, library: str = "nowhere", mode: str = "catches") -> HostProcess:
        host = HostProcess([str(self.program), library, mode, *words], self.place)
        self.started.append(host)
        until(lambda: host.output, "the server's first line")
        return host


@pytest.fixture
def servers(server: Path, tmp_path: Path) -> Iterator[Servers]:
    made = Servers(server, tmp_path)
    yield made
    for host in made.started:
        host.kill()


def lay(made: Project, more: str = "") -> None:
    made.write("SConstruct", SCONSTRUCT.format(more=more))
    made.write("plug.c", PLUGIN)
    made.path("run").mkdir()


# --- one process -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode, trouble",
    [("catches", ""), ("waits", ""), ("ignores", "ignores SIGUSR1"), ("dies", "has no handler for SIGUSR1, and would be killed")],
)
def test_what_a_process_stands(servers: Servers, tmp_path: Path, mode: str, trouble: str) -> None:
    """A handler, or signalfd with the signal blocked: sent. Without either it would die: not sent, it lives."""
    host = servers("pid", mode=mode)
    (sent,) = foreign.send(Foreign(pidfile=str(tmp_path / "pid"), signal=signal.SIGUSR1))
    assert sent.pid == host.pid and trouble in sent.trouble and bool(sent.trouble) == bool(trouble)
    if not trouble:
        until(lambda: len(host.lines) == 2, "the server's second line")
    assert host.alive and len(host.lines) == (1 if trouble else 2)


def _stale(path: Path) -> None:
    os.utime(path, (time.time() - 60, time.time() - 60))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "harm, trouble",
    [
        (Path.unlink, "there is no "),
        (_stale, "stale: process "),
        (_directory, "is no regular file"),
        (_fifo, "is no regular file"),
        (lambda path: path.write_text("12 13\n"), "has '12 13' in it, no pid"),
        (lambda path: path.write_text("-1\n"), "has '-1' in it, no pid"),
        (lambda path: path.write_text(""), "has '' in it, no pid"),
        (lambda path: path.write_text("2147483647\n"), "stale: no process 2147483647 is there"),
        (lambda path: path.write_text(f"{os.getpid()}\n"), ", not "),
    ],
    ids=["missing", "younger", "directory", "fifo", "words", "negative", "empty", "gone", "another program"],
)
def test_a_pid_file_that_is_not_to_be_believed(
    servers: Servers, tmp_path: Path, harm: Callable[[Path], None], trouble: str
) -> None:
    """Nothing is sent, and what is wrong is said, with a remedy."""
    host = servers("pid")
    harm(tmp_path / "pid")
    (sent,) = foreign.send(Foreign((str(servers.program),), str(tmp_path / "pid"), signal.SIGUSR1))
    assert sent.pid == 0 and trouble in sent.trouble and sent.remedy
    assert host.alive and len(host.lines) == 1


def test_a_process_that_has_ended(servers: Servers, tmp_path: Path) -> None:
    """Not reaped by its parent yet, and afterwards."""
    host = servers("pid")
    named = Foreign(pidfile=str(tmp_path / "pid"), signal=signal.SIGUSR1)
    os.kill(host.pid, signal.SIGKILL)
    os.waitid(os.P_PID, host.pid, os.WEXITED | os.WNOWAIT)
    assert "has ended" in foreign.send(named)[0].trouble
    host.process.wait()
    assert "no process" in foreign.send(named)[0].trouble


def test_another_users_process(tmp_path: Path) -> None:
    """Nobody else's process is sent anything, by root neither."""
    pid, process = 1, None
    if os.geteuid() == 0:
        process = subprocess.Popen([need("sleep", "coreutils"), "600"], user=65534)
        pid = process.pid
    try:
        (tmp_path / "pid").write_text(f"{pid}\n")
        (sent,) = foreign.send(Foreign(pidfile=str(tmp_path / "pid"), signal=signal.SIGUSR1))
        assert "belongs to another user" in sent.trouble
        assert process is None or process.poll() is None
    finally:
        if process:
            process.kill()
            process.wait()


def test_by_its_command(servers: Servers, tmp_path: Path) -> None:
    """The very words: as a program, by a relative path, found in PATH; not with others. Of a family the eldest."""
    host = servers("pid", "--path", "a b")
    words = ("nowhere", "catches", "pid", "--path", "a b")
    place = str(servers.program.parent)
    for first in (str(servers.program), "./server"):
        (sent,) = foreign.send(Foreign((first, *words), signal=signal.SIGUSR1, directory=place))
        assert (sent.pid, sent.trouble) == (host.pid, "")
    for others in (words[:-1], (*words, "more"), ()):
        (none,) = foreign.send(Foreign((str(servers.program), *others), signal=signal.SIGUSR1))
        assert none.pid == 0 and "no process of yours runs" in none.trouble
    (none,) = foreign.send(Foreign(("no-such-engine", "x"), signal=signal.SIGUSR1))
    assert "no program 'no-such-engine'" in none.trouble


def test_a_script_and_its_children(tmp_path: Path) -> None:
    """A program that an interpreter runs is known by the script; what it forks with the same words is left to it."""
    script = tmp_path / "engine"
    script.write_text(
        f"#!{Path(sys.executable).resolve()}\nimport os, signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('told', os.getpid(), flush=True))\n"
        "if os.fork() == 0: print('child', os.getpid(), flush=True)\nwhile True: signal.pause()\n"
    )
    script.chmod(0o755)
    host = HostProcess([str(script), "--path", "."], tmp_path)
    try:
        child = int(host.wait_line("child").split()[1])
        (sent,) = foreign.send(Foreign(("./engine", "--path", "."), signal=signal.SIGUSR1, directory=str(tmp_path)))
        assert (sent.pid, sent.trouble) == (host.pid, "")
        host.wait_line(f"told {host.pid}")
        assert f"told {child}" not in host.output
    finally:
        os.kill(child, signal.SIGKILL)
        host.kill()


# --- the whole way -----------------------------------------------------------------------------------------------


def test_watch_reload_and_hosts(made: Project, servers: Servers, tmp_path: Path) -> None:
    """The README's line: sent after a good build and said so, never as reloaded; nothing after an error; reload's exit
    status tells."""
    lay(made)
    line = block("README.md", "python", "pidfile=").strip()
    made.edit("SConstruct", "env.HotReload(plugins=[plug])", line)
    (tmp_path / "bin").mkdir()
    servers.program = Path(shutil.copy(servers.program, tmp_path / "bin/engine"))
    made.environment["PATH"] = f"{tmp_path / 'bin'}:{made.environment['PATH']}"
    output = made.scons("reload", "-Q", code=2)
    assert "not sent SIGUSR1 for plug: there is no " in output and "run/engine.pid" in output
    host = servers(str(made.path("run/engine.pid")), library=str(made.path("build/libplug.so")))
    host.wait_line("code one")
    assert f"pid {host.pid} can be sent SIGUSR1" in made.scons("hosts", "-Q")
    watch = made.watch()
    made.edit("plug.c", "one", "two")
    event = watch.wait("sent")
    assert event["ok"] and (event["plugin"], event["host"], event["signal"]) == ("plug", host.pid, "SIGUSR1")
    assert event["save_to_sent_ms"] > 0 and event["compiled"] == 1
    host.wait_line("code two")
    made.edit("plug.c", '"code two"', '"code three"; oops')
    watch.wait("error")
    made.edit("plug.c", "; oops", "")
    watch.wait("sent")
    host.wait_line("code three")
    assert watch.stop() == 130
    assert [event["event"] for event in watch.events].count("sent") == 2 and "reloaded" not in watch.output
    assert f"sent SIGUSR1 to pid {host.pid} for plug · 1 of 1 object" in watch.output
    assert "no host is running" not in watch.output
    shows(block("README.md", "console", "sent SIGUSR1"), watch.output)
    assert f"sent SIGUSR1 to pid {host.pid}" in made.scons("reload", "-Q")
    until(lambda: len(host.lines) == 4, "the server being told though nothing is new, as it was asked to")


def test_a_refused_library_sends_nothing(made: Project, servers: Servers) -> None:
    """What was found wrong before it was published is not what a host should open."""
    lay(made, ', signal="SIGUSR1", pidfile="run/server.pid"')
    made.edit("plug.c", "const", "#include <signal.h>\nvoid set(void) { signal(SIGHUP, SIG_IGN); }\nconst")
    assert "warning" not in made.scons(), "what our runtime would do does not concern it"
    host = servers(str(made.path("run/server.pid")), library=str(made.path("build/libplug.so")))
    made.path("build/.hotreload").chmod(0o777)
    made.edit("plug.c", "one", "two")
    assert "sent" not in made.scons("reload", "-Q", code=2)
    assert host.alive and len(host.lines) == 1


def test_beside_a_host_that_answers(made: Project, servers: Servers) -> None:
    """One library, two kinds of hosts: one is told as reloaded, the other as sent; an undo reaches the former alone."""
    ticker.lay(made)
    made.edit("src/plug.c", "HR_STATE", 'const char *text(void) { return "code one"; }\nHR_STATE')
    more = 'env.HotReload(plugins=[plug], signal=10, pidfile="#/server.pid")\n'
    made.write("SConstruct", made.path("SConstruct").read_text() + more)
    made.scons()
    one = made.host()
    ticker.runs(one, 1)
    other = servers(str(made.path("server.pid")), library=str(made.path("build/libplug.so")))
    made.edit("src/plug.c", "code one", "code two")
    ticker.set_number(made, 2)
    output = made.scons("reload", "-Q")
    assert f"reloaded plug #2 in pid {one.pid}" in output and f"sent SIGUSR1 to pid {other.pid} for plug" in output
    other.wait_line("code two")
    ticker.runs(one, 2)
    output = made.scons("reload", "--hot-undo", "-Q")
    assert f"reloaded plug #3 in pid {one.pid}" in output and "sent" not in output
    listed = made.scons("hosts", "-Q")
    assert f"pid {one.pid}  " in listed and f"pid {other.pid} can be sent SIGUSR1" in listed


def test_hot_run_starts_a_command(made: Project, server: Path) -> None:
    """Started, sent its signal, ended; its end and what it was sent are told, no pid file needed."""
    command = f"{server} build/libplug.so catches"
    lay(made, f', host="{command}", signal="usr1"')
    watch = made.watch("--hot-run")
    until(lambda: "code one" in watch.output, "the server's first line")
    made.edit("plug.c", "one", "two")
    event = watch.wait("sent")
    until(lambda: "code two" in watch.output, "the server's second line")
    assert event["name"] == command and "not sent" not in watch.output
    assert watch.stop() == 130
    assert not Path(f"/proc/{event['host']}").exists()


def test_plugins_alone(made: Project) -> None:
    """No host at all, or one that is only a command: built and published on every save."""
    lay(made)
    made.write("SConstruct", made.path("SConstruct").read_text() + 'env.HotReload(host="engine --path .", plugins=[plug])\n')
    assert "published plug #1" in made.scons("-Q")
    watch = made.watch()
    made.edit("plug.c", "one", "two")
    assert watch.wait("published")["generation"] == 2
    assert "engine --path .  " in made.scons("hosts", "-Q")


WRONG = {
    'signal="SIGFOO", pidfile="p"': "signal 'SIGFOO' is not known",
    'signal=999, pidfile="p"': "signal 999 is not known",
    'signal="SIGKILL", pidfile="p"': "SIGKILL cannot be caught by any host",
    'signal="SIGHUP"': "a signal without a host",
    'pidfile="p"': "a pid file without a signal",
    'signal="SIGHUP", pidfile="run"': "run is a directory",
    'signal="SIGHUP", host="engine \'x"': "is not a command: No closing quotation",
    'signal="SIGHUP", host=["a", "b"], pidfile="p"': "one pid file for several hosts",
    'host=["engine --path .", "build/main"]': "commands and programs in one call",
}


def test_bad_input(made: Project) -> None:
    """Each is a UserError that names the line."""
    calls = "".join(
        f"try: env.HotReload(plugins=[plug], {words})\nexcept Exception as error: print(type(error).__name__, error)\n"
        for words in WRONG
    )
    lay(made)
    made.write("SConstruct", made.path("SConstruct").read_text() + calls)
    lines = made.scons("-Q", "-n").splitlines()
    for number, (words, what) in enumerate(WRONG.items()):
        place = f"UserError {made.path('SConstruct')}:{4 + 2 * number}: HotReload: "
        assert lines[number].startswith(place) and what in lines[number], (words, lines[number])
