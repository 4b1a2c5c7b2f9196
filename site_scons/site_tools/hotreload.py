"""SCons tool: save a C or C++ file and the running program runs the new code.

    env = Environment(tools=["default", "hotreload"])
    plug = env.HotLibrary("build/plug", ["src/plug.c"])
    main = env.HotProgram("build/main", ["src/main.c"], plugins=[plug])

or, in a project that has its targets already, ``env.HotReload(host=program, plugins=[library])``. Then ``scons watch``,
``scons reload``, ``scons hosts``. ``release=1`` links hosts to their plugins for good.

``$HOTRELOAD_INCLUDE`` is the directory of ``hotreload.h``; HotLibrary and HotProgram have it in their CPPPATH.

This module only declares: targets, options, and what happens when SCons is about to build. What it does is in the
package ``hotreload_engine``: beside ``site_tools``, or around this file where pip installed it.
"""

import contextlib
import fcntl
import gc
import os
import re
import shlex
import shutil
import signal as signals
import sys

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if _HERE not in sys.path:
    sys.path.append(_HERE)  # a toolpath is on sys.path only while this module executes

import SCons.Errors  # noqa: E402
import SCons.Node  # noqa: E402
import SCons.Node.Alias  # noqa: E402
import SCons.Node.FS  # noqa: E402
import SCons.SConsign  # noqa: E402
import SCons.Script  # noqa: E402
import SCons.Script.Main  # noqa: E402
import SCons.Util  # noqa: E402

from hotreload_engine import audit, ledger, once, relaunch, report  # noqa: E402
from hotreload_engine.journal import Journal  # noqa: E402
from hotreload_engine.model import Foreign, HotReloadError, Plugin  # noqa: E402
from hotreload_engine.precompiled import PrecompiledHeaders, program_names  # noqa: E402
from hotreload_engine.screen import Screen  # noqa: E402

_SCONS = os.path.dirname(SCons.__file__)
_TARGETS = ("watch", "reload", "hosts")
_OPTIONS = (
    ("--hot-run", {"nargs": "?", "const": "", "metavar": "ARGS", "help": "watch: start the host too, with ARGS"}),
    ("--hot-events", {"metavar": "FILE", "help": "write events as NDJSON to FILE ('-' for standard output)"}),
    ("--hot-report", {"metavar": "FILE", "help": "watch: keep a page about the session in FILE (HTML)"}),
    ("--hot-quiet", {"action": "store_true", "help": "print trouble only"}),
    ("--hot-marks", {"action": "store_true", "help": "watch: a line where each build begins and ends, for editors"}),
    ("--hot-poll", {"action": "store_true", "help": "watch: look at files instead of waiting for file events"}),
    ("--hot-undo", {"action": "store_true", "help": "reload: build nothing, go back to the generation before"}),
    ("--hot-notify", {"action": "store_true", "help": "watch: desktop message or bell when good turns bad or back"}),
    ("--hot-explain", {"action": "store_true", "help": "watch: say why each target was rebuilt"}),
)


def exists(env):
    return True


def generate(env):
    """Called for every environment that names the tool, clones too; the session is set up once."""
    for method in (HotLibrary, HotProgram, HotReload):
        env.AddMethod(method)
    env.SetDefault(HOTRELOAD_INCLUDE=_include())
    _Project.of_this_process()


# --- pseudo-builders ----------------------------------------------------------------------------------------


def HotLibrary(env, target, source, **overrides):
    """SharedLibrary whose code running hosts reload. Overrides are SharedLibrary's."""
    plugin = env.Clone()
    _add_header(plugin)
    if _release():
        plugin.Append(CPPDEFINES=["HR_RELEASE"])
    else:
        plugin.Append(SHLINKFLAGS=["-Wl,-Bsymbolic", "-Wl,--build-id"])  # own calls never bind to an older generation
        if not _has_debug_flag(env, "SHCCFLAGS", "SHCFLAGS", "SHCXXFLAGS"):
            plugin.Append(SHCCFLAGS=["-g"])  # a debugger follows every generation
        if _is_gxx(plugin.subst("$CXX")):
            plugin.Append(SHCXXFLAGS=["-fno-gnu-unique"])  # such symbols keep a library mapped for ever
        plugin.Prepend(RPATH=_from_below(plugin))
        plugin.Append(SHLINKFLAGS=_linker(plugin))
    for variable, flag in (("SHCCFLAGS", "-fPIC"), ("SHLINKFLAGS", "-shared")):
        if flag not in _flags(plugin, variable):
            plugin.Append(**{variable: [flag]})
    project = _Project.of_this_process()
    precompiled = None if _release() else project.precompiled.use(plugin, target, overrides)
    library = plugin.SharedLibrary(target, source, **overrides)
    if precompiled:
        precompiled.by(library, source)
    project.add(None, library)
    return library


def HotProgram(env, target, source, plugins=(), hot=None, **overrides):
    """Program that hosts ``plugins``. ``hot=False``, or release=1 for all: linked to them for good, no runtime."""
    hot = not _release() if hot is None else hot
    host = env.Clone()
    _add_header(host)
    libraries = [_node(env, plugin) for plugin in _each(env, plugins)]
    if hot:
        # -l lets the linker see the plugin; --as-needed keeps it out of DT_NEEDED as long as no symbol of it is used
        # directly: a copy in the global scope would serve the calls of every later generation (old code, no error).
        host["_HOTRELOAD_LIBS"] = ["-Wl,--push-state,--as-needed", *_link_flags(env, libraries), "-Wl,--pop-state"]
        host["_LIBFLAGS"] = f"$_HOTRELOAD_LIBS {host['_LIBFLAGS']} -ldl -pthread"
        if not _has_debug_flag(env):
            host.Append(CCFLAGS=["-g"])  # tells which functions it was compiled against
        program = host.Program(target, source, **overrides)
        env.Requires(program, libraries)
        HotReload(env, host=program, plugins=libraries)
        return program
    host.Append(CPPDEFINES=["HR_RELEASE"])
    host["_HOTRELOAD_LIBS"] = _link_flags(env, libraries)
    host["_LIBFLAGS"] = f"$_HOTRELOAD_LIBS {host['_LIBFLAGS']}"
    program = host.Program(target, source, **overrides)
    start = program[0].get_dir()
    for library in libraries:
        step = os.path.relpath(library.get_dir().get_abspath(), start.get_abspath())
        host.AppendUnique(RPATH=[env.Literal("\\$$ORIGIN" + ("" if step == "." else "/" + step))])
    env.Depends(program, libraries)
    return program


def HotReload(env, host=None, plugins=(), signal=None, pidfile=None):
    """Make existing targets hot: ``host`` reloads ``plugins``. Nodes or paths; neither is built in another way.

    ``signal``: the host has no runtime of ours and reloads itself when it is sent this signal; it is the process that
    ``pidfile`` names, or the one that ``host`` starts, which is a command then (so it is without a signal, if it has
    spaces and is no file).
    """
    project = _Project.of_this_process()
    libraries = [_node(env, plugin) for plugin in _each(env, plugins)]
    if not libraries:
        raise _wrong("no plugins given; write plugins=[library, ...]")
    given = _each(env, host)
    foreign = _foreign(env, given, signal, pidfile)
    hosts = [] if foreign else [_node(env, each) for each in given]
    for library in libraries:
        project.add(hosts, [library], foreign)


def _foreign(env, hosts, number, pidfile):
    """Hosts without our runtime; [] when what is given are hosts with it."""
    top = env.Dir("#").get_abspath()
    if pidfile is not None and number is None:
        raise _wrong("a pid file without a signal: give signal=… too, the one by which the host reloads itself")
    if number is None:
        words = [each for each in hosts if SCons.Util.is_String(each) and " " in each.strip()]
        commands = [each for each in words if not os.path.exists(os.path.join(top, each))]
        if not commands:
            return []
        if len(commands) < len(hosts):
            raise _wrong("commands and programs in one call: one call of HotReload for each")
    elif not hosts and not pidfile:
        raise _wrong("a signal without a host: give pidfile=… or host='the command that starts it'")
    path = ""
    if pidfile is not None:
        if len(hosts) > 1:
            raise _wrong("one pid file for several hosts: one call of HotReload for each")
        path = env.subst(str(pidfile))
        here = top if path.startswith("#") else env.Dir(".").srcnode().get_abspath()
        path = os.path.normpath(os.path.join(here, path.lstrip("#").lstrip("/") if path[:1] == "#" else path))
        if os.path.isdir(path):
            raise _wrong(f"pidfile {path} is a directory: name the file that the host writes its pid to")
    number = 0 if number is None else _signal_number(number)
    commands = [_words(env, each) for each in hosts] or [()]
    return [Foreign(command, path, number, top) for command in commands]


def _words(env, host):
    if not SCons.Util.is_String(host):
        return (host.get_abspath(),)
    try:
        words = tuple(shlex.split(env.subst(host)))
    except ValueError as error:
        raise _wrong(f"host {host!r} is not a command: {error}") from None
    if not words:
        raise _wrong(f"host {host!r} is not a command: it is empty")
    return words


def _signal_number(given):
    """By name, with SIG or without, or by number."""
    if SCons.Util.is_String(given):
        name = given.upper()
        found = getattr(signals.Signals, name if name.startswith("SIG") else f"SIG{name}", None)
    else:
        found = next((each for each in signals.Signals if each == given), None)
    if found is None:
        raise _wrong(f"signal {given!r} is not known: 'SIGUSR1' or 'SIGHUP', say")
    if found in (signals.SIGKILL, signals.SIGSTOP):
        raise _wrong(f"{found.name} cannot be caught by any host: name the signal by which it reloads itself")
    return int(found)


def _wrong(what):
    """A UserError about a call of HotReload, with its place in the user's files."""
    caller = sys._getframe(1)
    while caller.f_back and caller.f_code.co_filename.startswith((_SCONS, os.path.abspath(__file__))):
        caller = caller.f_back  # MethodWrapper, and our own
    return SCons.Errors.UserError(f"{caller.f_code.co_filename}:{caller.f_lineno}: HotReload: {what}")


def _has_debug_flag(env, *more):
    return any(flag.startswith("-g") for flag in _flags(env, "CCFLAGS", "CFLAGS", "CXXFLAGS", *more))


def _is_gxx(command):
    """g++ by any name (c++, ccache g++, a cross compiler): it knows -fno-gnu-unique, clang++ does not."""
    names = program_names(command)
    return any("g++" in name for name in names) and not any("clang" in name for name in names)


def _from_below(env):
    """Run paths for a library that hosts open one directory below where it is linked: what $ORIGIN/x led to."""
    words = [env.subst(str(word)) for word in env.Flatten(env.get("RPATH", []))]
    words += [word for word in _flags(env, "LINKFLAGS", "SHLINKFLAGS") if "rpath" in word]
    found = dict.fromkeys(match for word in words for match in re.findall(r"\$\{?ORIGIN\}?((?:/[^\s:,'\"]*)?)", word))
    return [env.Literal("\\$$ORIGIN/.." + tail) for tail in found]


_LINKERS = {"lld": "ld.lld", "mold": "ld.mold"}


def _linker(env):
    """$HOTRELOAD_LINKER: lld, mold; auto: the first of them that is installed; "" (the default): the project's own."""
    wanted = env.subst(str(env.get("HOTRELOAD_LINKER", "")))
    if wanted not in ("", "auto", *_LINKERS):
        raise SCons.Errors.UserError(f"HOTRELOAD_LINKER is {wanted!r}: 'mold', 'lld', 'auto' or '' are known")
    names = _LINKERS if wanted == "auto" else [wanted] if wanted else []
    found = next((name for name in names if env.WhereIs(_LINKERS[name])), "")
    if wanted in _LINKERS and not found:
        path = env.get("ENV", {}).get("PATH", "")
        raise SCons.Errors.UserError(f"HOTRELOAD_LINKER: there is no {_LINKERS[wanted]} in {path}: install {wanted}")
    return [f"-fuse-ld={found}"] if found else []


def _include():
    """The directory of the hotreload.h that came with this tool; "" when it was copied without it."""
    places = (os.path.join(os.path.dirname(_HERE), "src"), os.path.dirname(audit.__file__))
    return next((place for place in places if os.path.exists(os.path.join(place, "hotreload.h"))), "")


def _add_header(env):
    if header := env.subst("$HOTRELOAD_INCLUDE"):
        env.AppendUnique(CPPPATH=[env.Dir(header)])


def _link_flags(env, libraries):
    """-L./DIR -lNAME for each; -l:FILE where the name does not follow the convention."""
    flags = []
    for library in libraries:
        stem, suffix = os.path.splitext(library.name)
        plain = stem.startswith("lib") and suffix == ".so"
        flags += [f"-L./{env.Dir('#').rel_path(library.get_dir())}"]
        flags += [f"-l{stem[3:]}" if plain else f"-l:{library.name}"]
    return flags


def _flags(env, *variables):
    return [flag for variable in variables for flag in SCons.Util.CLVar(env.subst(f"${variable}"))]


def _release():
    return SCons.Script.ARGUMENTS.get("release", "0").lower() in ("1", "yes", "true", "on")


def _each(env, things):
    return [] if things is None else [each for each in env.Flatten([things]) if each]


def _node(env, thing):
    return env.File(thing) if SCons.Util.is_String(thing) else thing


# --- what SCons is about to do --------------------------------------------------------------------------------


class _Project:
    """The plugins of this process, and the moment when SCons has read everything and is about to build."""

    @classmethod
    def of_this_process(cls):
        # On a module of SCons, not of ours: two paths to this tool make two modules, but there is one session.
        if not hasattr(SCons.Script.Main, "hotreload_project"):
            SCons.Script.Main.hotreload_project = cls()
        return SCons.Script.Main.hotreload_project

    def __init__(self):
        if "watch" in map(str, SCons.Script.COMMAND_LINE_TARGETS):
            # The graph is millions of objects that stay; by default the collector walks them for a quarter of the time.
            gc.set_threshold(20_000, 50, 1000)
        self.carried = relaunch.carried()
        self.precompiled = PrecompiledHeaders()
        self._plugins = {}  # library node → host nodes
        self._foreign = {}  # library node → hosts without our runtime
        self._options = {}
        self._reads = audit.install()
        self._scons_build = SCons.Script.Main._build_targets
        SCons.Script.Main._build_targets = self._build
        _write_signatures_alone()
        for name, settings in _OPTIONS:
            destination = name.lstrip("-").replace("-", "_")
            try:
                SCons.Script.AddOption(name, dest=destination, **settings)
                self._options[name] = destination
            except Exception as error:  # optparse's OptionConflictError, whichever class this version raises
                if "conflict" not in str(error):
                    raise
                _say(f"hotreload: the project has an option {name} of its own; ours is not available")

    def add(self, hosts, libraries, foreign=()):
        for library in libraries:
            for known, given in ((self._plugins, hosts or ()), (self._foreign, foreign)):
                there = known.setdefault(library, [])
                there += [host for host in given if host not in there]

    def plugins(self, wanted=lambda node: True):
        return [
            Plugin(
                os.path.join(os.path.realpath(node.get_dir().get_abspath()), node.name),
                tuple(str(host.get_abspath()) for host in hosts),
                tuple(_sources(node)),
                tuple(self._foreign[node]),
            )
            for node, hosts in self._plugins.items()
            if wanted(node)
        ]

    def option(self, name):
        return SCons.Script.GetOption(self._options[name]) if name in self._options else None

    # --- in place of SCons's _build_targets --------------------------------------------------------------------

    def _build(self, fs, options, targets, target_top):
        self._reads.stop(_site_init(fs, options), relaunch.began(self.carried))
        if relaunch.is_trial():
            return [fs.Dir("#")]  # read without an error: that is all that was asked
        passive = options.no_exec or options.question or options.clean
        ninja = _ninja_tool()
        asked = ninja.NINJA_CMDLINE_TARGETS if ninja else SCons.Script.BUILD_TARGETS
        ours = [name for name in _TARGETS if name in map(str, asked) and self._is_ours(name, fs)]
        if ninja and ours:
            if "watch" in ours and not passive:
                _without_ninja(ninja)
            else:  # ninja is called in the course of SCons's build; the rest is its to build
                asked[:] = [target for target in asked if str(target) not in ours]
        if SCons.Script.BUILD_TARGETS is asked:
            targets = _without(ours) if ours else targets
        try:
            self._distrust_abandoned(fs, passive)
            # A session that has read the SConscripts again goes on and waits for it, as for any source.
            if not self.carried and not options.clean and (missing := next(self.precompiled.missing(), None)):
                remedy = "a path is relative to its SConscript, or to the top with '#'"
                raise HotReloadError(f"HOTRELOAD_PCH: there is no header {missing}", "SConstruct", remedy)
            if passive or not ours:
                return self._plain(fs, options, targets, target_top, passive)
            if len(ours) > 1:
                raise HotReloadError(f"{' and '.join(ours)} cannot be asked for together", "command line", "name one")
            return getattr(self, "_" + ours[0])(fs, options, targets, target_top)
        except HotReloadError as error:
            sys.stdout.flush()
            sys.stderr.write(f"hotreload: {error}\n")
            SCons.Script.Main.exit_status = 2
        return [fs.Dir("#")]

    def _plain(self, fs, options, targets, target_top, passive):
        nodes = self._scons_build(fs, options, targets, target_top)
        built = self.plugins(lambda node: node.get_state() in (SCons.Node.executed, SCons.Node.up_to_date))
        if _ninja_tool():  # all counts as built then, by SCons's own account
            good = SCons.Script.Main.exit_status == 0
            built = [plugin for plugin in built if good and os.path.exists(plugin.library)]
        if options.clean:
            once.clean(self.plugins(lambda node: not os.path.exists(node.get_abspath())))
        elif built and not passive and not _release():
            with self._journal() as emit:
                if not once.publish(built, emit):
                    SCons.Script.Main.exit_status = 2
        return nodes

    def _reload(self, fs, options, targets, target_top):
        if self.option("--hot-undo"):
            with self._journal() as emit:
                if not once.undo(self.plugins(), emit):
                    SCons.Script.Main.exit_status = 2
            return [fs.Dir("#")]
        nodes = self._scons_build(fs, options, targets, target_top)
        if SCons.Script.Main.exit_status == 0:
            with self._journal() as emit:
                if not once.reload(self.plugins(), emit):
                    SCons.Script.Main.exit_status = 2
        return nodes or [fs.Dir("#")]

    def _hosts(self, fs, options, targets, target_top):
        plugins = self.plugins()
        if not plugins:
            _say("no plugin is declared in this project (HotLibrary or HotReload)")
        once.list_hosts(plugins, _say)
        return [fs.Dir("#")]

    def _watch(self, fs, options, targets, target_top):
        from hotreload_engine.graph import Graph
        from hotreload_engine.notify import Notifier
        from hotreload_engine.page_file import PageFile
        from hotreload_engine.runner import Runner
        from hotreload_engine.session import Session, Settings

        arguments, carried = self.option("--hot-run"), self.carried
        with contextlib.ExitStack() as stack:
            stack.enter_context(_only_watcher(fs.Top.get_abspath()))  # before files of a session that runs are written
            screen = stack.enter_context(self._screen(arguments is not None))
            notifier = None
            if self.option("--hot-notify"):
                notifier = Notifier(screen.bell if screen else None, bool(carried.get("bad")))
            page = None
            if report_to := self.option("--hot-report"):
                page = PageFile(os.path.abspath(report_to), fs.Top.get_abspath(), carried.get("page"))
            emit = stack.enter_context(self._journal(screen, *filter(None, (notifier, page))))
            programs = [[host.get_abspath()] for hosts in self._plugins.values() for host in hosts]
            programs += [list(host.command) for hosts in self._foreign.values() for host in hosts if host.command]
            if arguments is not None and not programs:
                raise HotReloadError(
                    "--hot-run: no host program is known",
                    "SConstruct",
                    "declare it with HotProgram or HotReload(host=…)",
                )
            emit.iteration = carried.get("iteration", 0)
            runner = None
            if arguments is not None:
                program, *words = programs[0]
                program = program if "/" in program else shutil.which(program) or program
                runner = Runner(program, f"{shlex.join(words)} {arguments}", carried.get("host", 0))
            graph = Graph(fs, options, targets, target_top, self._scons_build, self._reads)
            session = Session(
                graph,
                [] if _release() else self.plugins(),
                emit,
                relaunch.Relaunch(SCons.Script._SConscript.launch_dir),
                Settings(
                    fs.Top.get_abspath(),
                    bool(self.option("--hot-poll")),
                    bool(self.option("--hot-explain")),
                    carried or None,
                    screen,
                    keys=self.option("--hot-events") != "-",
                    notifier=notifier,
                    page=page,
                ),
                runner,
            )
            SCons.Script.Main.exit_status = session.run()
            if page and (error := page.close()):
                emit.error(error)
        return [fs.Dir("#")]

    def _distrust_abandoned(self, fs, passive):
        if ledger.is_there(fs.Top.get_abspath()):
            from hotreload_engine.graph import forget_abandoned

            if count := forget_abandoned(fs, write=not passive):
                _say(
                    f"hotreload: a session was killed in the middle of a build: {count} of its targets are built again"
                )

    def _is_ours(self, name, fs):
        # The alias is made only now: an earlier one would take the place of a project's own target of that name.
        aliases, file = SCons.Node.Alias.default_ans, fs.Top.entries.get(name)
        theirs = aliases.lookup(name) is not None or (file is not None and file.has_builder())
        if not theirs:
            aliases.Alias(name)
        if theirs:
            _say(f"hotreload: the project has a target {name} of its own; ours is not available")
        return not theirs

    @contextlib.contextmanager
    def _screen(self, shared):
        """The terminal that a watch writes to, or None. By a descriptor of its own: builds redirect the usual ones."""
        stream = sys.stderr if self.option("--hot-events") == "-" else sys.stdout
        if not report.can_rewrite(stream):
            yield None
            return
        stream.flush()
        with open(os.dup(stream.fileno()), "w", encoding="utf-8", errors="replace") as own:
            yield Screen(own, report.wants_colour(stream), shared, bool(self.option("--hot-quiet")))

    @contextlib.contextmanager
    def _journal(self, screen=None, *sinks):
        quiet, marks = bool(self.option("--hot-quiet")), bool(self.option("--hot-marks"))

        def lines(stream):
            return report.terminal(getattr(stream, "file", stream), quiet, screen, marks)  # without SCons's wrapper

        destination = self.option("--hot-events")
        with contextlib.ExitStack() as stack:
            if destination == "-":
                events, show = stack.enter_context(report.stdout_for_events()), lines(sys.stderr)
                ndjson = report.ndjson(events, _without_events(show, "standard output"))
                yield Journal(report.both(show, ndjson, *sinks))
            elif destination:
                try:
                    # Line by line appended, so that a session after a re-exec goes on in the same file.
                    mode = "a" if self.carried else "w"
                    events = stack.enter_context(open(destination, mode + "b", buffering=0))
                except OSError as error:
                    raise HotReloadError(
                        f"cannot write events: {error.strerror}", destination, "give --hot-events another file"
                    ) from error
                show = lines(sys.stdout)
                yield Journal(report.both(show, report.ndjson(events, _without_events(show, destination)), *sinks))
            else:
                yield Journal(report.both(lines(sys.stdout), *sinks))


def _without_events(show, destination):
    """Says, as an error that events cannot tell of, that they cannot be written."""

    def failed(error):
        what, remedy = f"cannot write events: {error.strerror}", "make room: what is missing is written then"
        Journal(show).error(HotReloadError(what, destination, remedy))

    return failed


def _ninja_tool():
    """SCons's own ninja tool, where the project has loaded it. It then has what SCons was asked to build, in
    NINJA_CMDLINE_TARGETS, and SCons has but its file to make, and calls ninja for the rest."""
    modules = [sys.modules.get(f"SCons.Tool.{name}") for name in ("ninja_tool", "ninja")]  # the latter in 4.4
    kind = SCons.Script.TargetList
    return next((each for each in modules if isinstance(getattr(each, "NINJA_CMDLINE_TARGETS", None), kind)), None)


def _without_ninja(tool):
    """A watch keeps SCons's graph and builds by it, which that tool makes impossible: without it, in a new process."""
    if not SCons.Script.GetOption("disable_ninja"):
        _say("hotreload: SCons's ninja tool is loaded; watch builds without it, by --disable-ninja")
        relaunch.Relaunch(SCons.Script._SConscript.launch_dir).with_option("--disable-ninja")
    for file in SCons.Script.BUILD_TARGETS[0].children():
        file.builder, file.always_build = None, False  # the tool does not make its file then, but would be asked to
    SCons.Script.BUILD_TARGETS = tool.NINJA_CMDLINE_TARGETS


def _without(names):
    """Take our target names out of what SCons was asked to build; what is left, or [] for the default targets."""
    asked, with_defaults = SCons.Script.BUILD_TARGETS, SCons.Script._build_plus_default
    for targets in (asked, with_defaults):
        targets[:] = [target for target in targets if str(target) not in names]
    left = list(asked)
    if not left:
        asked[:] = with_defaults  # equal lists are how SCons tells that nothing was asked for
    return left


def _site_init(fs, options):
    """The project's site_init.py, which was read before this tool was there to see it."""
    place = os.path.join(fs.SConstruct_dir.get_abspath(), options.site_dir or "site_scons", "site_init.py")
    return (place,) if os.path.exists(place) else ()


def _sources(library):
    """Source files that a library's objects are made of."""
    for child in library.sources:
        for source in child.sources or [child]:
            node = source.srcnode() if hasattr(source, "srcnode") else source
            yield node.get_abspath()


@contextlib.contextmanager
def _only_watcher(top):
    """One watch a tree: an flock on the project's directory itself, gone with the process."""
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HotReloadError(
                "another scons watch runs on this tree already", top, "use that one, or end it first"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _write_signatures_alone():
    """Not while a session does: each would take the other's half-written file."""
    write = SCons.SConsign.write

    def alone():
        with ledger.alone(getattr(db, "_file_name", "") for db in SCons.SConsign.DB_sync_list):
            write()

    SCons.SConsign.write = alone


def _say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
