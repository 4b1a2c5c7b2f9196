"""docs/editors.md as it stands: each recipe with its editor, on what a real session prints."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import LIMIT, Project, need, project, until
from snippets import block, example
from terminal_kit import terminal
from vscode_kit import Collector, Problem

PAGE = "docs/editors.md"
WARNS = "    int unused;\n"
BROKEN = "    state->calls += nothing;\n"
COLUMNS = 60
"""Of the terminal: fewer than many a line has."""


@dataclass
class Recording:
    """A session's screen, as it was when each stage was over, and its events then."""

    root: Path
    lines: dict[str, list[str]]
    events: dict[str, str]

    def collector_after(self, stage: str) -> Collector:
        task = json.loads(block(PAGE, "json"))["tasks"][0]
        collector = Collector(task["problemMatcher"], self.root)
        for line in self.lines[stage]:
            collector.take(line)
        return collector

    def problems(self, stage: str) -> set[tuple[str, int, int, str, str]]:
        collector = self.collector_after(stage)
        assert not collector.active, f"a build has no end:\n{self.lines[stage]}"
        return {_short(problem, self.root) for problem in collector.problems}


def _short(problem: Problem, root: Path) -> tuple[str, int, int, str, str]:
    file = os.path.relpath(problem.file, root)
    return file, problem.line, problem.column, problem.severity, problem.message.partition(" [")[0]


def lay(made: Project) -> None:
    """The README's example, plugin in a variant directory, with compilers that warn."""
    files = example()
    files["SConstruct"] = (
        'env = Environment(tools=["default", "hotreload"], CCFLAGS=["-Wall"])\n'
        'SConscript("src/SConscript", variant_dir="build", duplicate=False, exports="env")\n'
    )
    files["src/SConscript"] = (
        'Import("env")\nplug = env.HotLibrary("plug", ["plug.c"])\nenv.HotProgram("main", ["main.c"], plugins=[plug])\n'
    )
    for name, text in files.items():
        made.write(name, text)


def recorded(made: Project) -> Recording:
    """The task's own command on a terminal: good, errors of a compiler, mended, of a linker, mended; then the same with
    a compiler that prints in colour."""
    lay(made)
    program, *words = shlex.split(json.loads(block(PAGE, "json"))["tasks"][0]["command"])
    assert program == "scons"
    record = Recording(made.root, {}, {})
    with terminal(made, command=made.command(*words, "--hot-events=.events"), columns=COLUMNS) as term:

        def over(stage: str, builds: int) -> None:
            def ended() -> bool:
                term.read(0.01)
                record.lines[stage] = term.display.whole_lines
                return record.collector_after(stage).builds == builds

            until(ended, lambda: f"{stage}:\n{term.text[-2000:]}")
            assert not term.display.strange
            record.events[stage] = made.path(".events").read_text(encoding="utf-8")

        over("good", 1)
        term.says("h lists the keys")
        made.edit("src/plug.c", "    state->calls++;\n", WARNS + BROKEN)
        over("error", 2)
        made.edit("src/plug.c", BROKEN, "    state->calls += 2;\n")
        over("warning", 3)
        made.edit("src/plug.c", WARNS, "")
        over("mended", 4)
        made.edit("src/main.c", "return 1;", "return puts(plug_nowhere());")
        made.edit("src/main.c", "int main", "#include <stdio.h>\nconst char *plug_nowhere(void);\n\nint main")
        over("link", 5)
        made.edit("src/main.c", "puts(plug_nowhere())", "1")
        over("linked", 6)
        made.edit("SConstruct", '"-Wall"', '"-Wall", "-fdiagnostics-color=always"')
        term.says("watching ")
        over("restarted", 7)
        made.edit("src/plug.c", "    state->calls += 2;\n", WARNS + BROKEN)
        over("coloured", 8)
        assert "\x1b" not in "".join(record.lines["coloured"]) and "│ build begins" in record.lines["coloured"]
        term.type("q")
        assert term.ends() == 0
    return record


UNUSED = ("src/plug.c", 8, 9, "warning", "unused variable 'unused'")
NOTHING = ("src/plug.c", 9, 21, "error", "'nothing' undeclared (first use in this function)")
NOWHERE = ("src/main.c", 21, 1, "error", "undefined reference to `plug_nowhere'")
STAGES = {
    "good": [], "error": [NOTHING, UNUSED], "warning": [UNUSED], "mended": [], "link": [NOWHERE], "linked": [], "restarted": [],
    "coloured": [NOTHING, UNUSED],
}  # fmt: skip


def test_vs_code_and_vim(tmp_path: Path) -> None:
    """After each build its errors are there, with their places, and no others. Neovim too, where it is installed."""
    need("gcc")
    with project(tmp_path / "project") as made:
        record = recorded(made)
        for stage, problems in STAGES.items():
            assert record.problems(stage) == set(problems), "\n".join(record.lines[stage])
        for editor in [need("vim"), *filter(None, [shutil.which("nvim")])]:
            in_vim(record, tmp_path, editor)


def in_vim(recording: Recording, tmp_path: Path, editor: str) -> None:
    """:HotErrors after each stage: the entries of the quickfix list; :cfirst goes there."""
    script, driver, result = (tmp_path / name for name in ("recipe.vim", "driver.vim", "found"))
    script.write_text(block(PAGE, "vim"), encoding="utf-8")
    stages = [stage for stage in STAGES if stage != "coloured"]
    for stage in stages:
        (tmp_path / stage).write_text(recording.events[stage], encoding="utf-8")
    steps = "".join(
        f"call writefile(readfile('{tmp_path}/{stage}'), '.events')\nHotErrors\nfor entry in getqflist()\n"
        f"call add(found, ['{stage}', bufname(entry.bufnr), entry.lnum, entry.col, entry.type, entry.text])\nendfor\n"
        for stage in stages
    )
    driver.write_text(
        f"source {script}\nlet found = []\n{steps}"
        f"call writefile(readfile('{tmp_path}/error'), '.events')\ndoautocmd CursorHold\ncfirst\n"
        f"call add(found, ['cursor', bufname('%'), line('.'), col('.'), '', ''])\n"
        f"call writefile([json_encode(found)], '{result}')\nqall!\n",
        encoding="utf-8",
    )
    result.unlink(missing_ok=True)
    words = ["--headless"] if editor.endswith("nvim") else []
    done = subprocess.run(
        [editor, *words, "-es", "-u", "NONE", "-i", "NONE", "-c", "set nocompatible", "-S", str(driver)],
        cwd=recording.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert result.exists(), done.stdout + done.stderr
    assert [_entry(each, recording.root) for each in json.loads(result.read_text(encoding="utf-8"))] == [
        *[
            (stage, *((*NOWHERE[:2], 0, "", NOWHERE[4]) if each is NOWHERE else (*each[:3], each[3][0], each[4])))
            for stage in stages
            for each in STAGES[stage]
        ],
        ("cursor", *NOTHING[:3], "", ""),
    ], done.stdout + done.stderr


def _entry(entry: list[object], root: Path) -> tuple[object, ...]:
    stage, file, line, column, kind, text = entry
    return stage, os.path.relpath(root / str(file), root), line, column, kind, str(text).partition(" [")[0]


EMACS = r"""
(defun wait-for (regexp)
  (let ((end (+ (float-time) %d)))
    (while (not (with-current-buffer hot (save-excursion (goto-char (point-min)) (re-search-forward regexp nil t))))
      (when (> (float-time) end) (princ (with-current-buffer hot (buffer-string))) (kill-emacs 3))
      (accept-process-output nil 0.05))))
(defun edit (old new)
  (with-current-buffer (find-file-noselect "src/plug.c")
    (revert-buffer t t)
    (goto-char (point-min))
    (search-forward old)
    (replace-match new t t)
    (save-buffer)))
(defun errors ()
  (let (found)
    (with-current-buffer hot
      (setq compilation-current-error nil)
      (goto-char (point-min)))
    (condition-case nil
        (while t
          (next-error)
          (with-current-buffer (window-buffer)
            (push (list (file-relative-name buffer-file-name top) (line-number-at-pos) (1+ (current-column))) found)))
      (user-error nil))
    (nreverse found)))
(setenv "TERM" "dumb") ; as startup.el does before it takes the first key
(setq top default-directory make-backup-files nil create-lockfiles nil)
(setq hot (compilation-start (replace-regexp-in-string "^scons" %s compile-command t t)))
(wait-for "^watching ")
(edit "    state->calls++;\n" %s)
(wait-for "^error build/plug.os\\(.*\n\\)+build ends$")
(princ (format "%%S\n" (errors)))
(edit "nothing" "2")
(wait-for "^published plug #2\\(.*\n\\)+build ends$")
(princ (format "%%S\n" (errors)))
(edit "    int unused;\n" "")
(wait-for "^published plug #3\\(.*\n\\)+build ends$")
(princ (format "%%S\n" (errors)))
(interrupt-process (get-buffer-process hot))
(while (get-buffer-process hot) (accept-process-output nil 0.05))
(princ (with-current-buffer hot (buffer-string)))
"""


def test_emacs(made: Project) -> None:
    """M-x compile with the recipe, a session and edits: next-error goes through the last build's errors alone."""
    emacs = need("emacs", "emacs-nox")
    need("gcc")
    lay(made)
    del made.environment["NO_COLOR"]
    quoted = json.dumps(shlex.join(made.command()))
    made.write("recipe.el", block(PAGE, "elisp"))
    made.write("driver.el", EMACS % (LIMIT, quoted, json.dumps(WARNS + BROKEN)))
    done = subprocess.run(
        [emacs, "-Q", "--batch", "-l", "compile", "-l", "./recipe.el", "-l", "./driver.el"], cwd=made.root, env=made.environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=4 * LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    error, warning, mended, *rest = done.stdout.splitlines()
    assert error == '(("src/plug.c" 9 21) ("src/plug.c" 8 9))', done.stdout
    assert warning == '(("src/plug.c" 8 9))', done.stdout
    assert mended == "nil", done.stdout
    assert "\x1b" not in done.stdout and not any("│" in line for line in rest)


def test_gdb(made: Project) -> None:
    """The recipe's breakpoint stops in the first generation; saved meanwhile and gone on, in the next one at its new line. A
    crash is gdb's first, then the guard's. (Attached: test_gdb_follows_the_generations.)"""
    gdb = need("gdb")
    for name, text in example().items():
        made.write(name, text)
    made.write("hot.gdb", block(PAGE, "gdb").replace("continue", "run"))
    watch = made.watch()
    until_new = "while 'plug.c:10' not in gdb.execute('backtrace 1', to_string=True): gdb.execute('continue')"
    with made.path("output").open("wb") as output:
        process = subprocess.Popen(
            [gdb, "-nx", "-batch", "-x", "hot.gdb", "build/main", "-ex", "backtrace 1", "-ex", "shell touch stopped",
             "-ex", "shell while [ ! -e saved ]; do sleep 0.02; done", "-ex", f"python {until_new}", "-ex", "backtrace 1",
             "-ex", "info sharedlibrary", "-ex", "info breakpoints", "-ex", "delete", "-ex", "shell touch again",
             "-ex", "shell while [ ! -e crashing ]; do sleep 0.02; done", "-ex", "continue", "-ex", "detach"],
            cwd=made.root, env=made.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            process_group=0,
        )  # fmt: skip
    try:
        until(lambda: made.path("stopped").exists() or process.poll() is not None, "the first stop")
        watch.wait("host")
        made.edit("src/plug.c", "void plug_hello", "/* Two lines\n   more. */\nvoid plug_hello")
        assert "stopped" in watch.wait("reload", lambda event: event["pending"])["reason"]
        made.write("saved", "")
        # No waiting for its answer: gdb stops all threads at the first call, maybe before that is written.
        until(lambda: made.path("again").exists() or process.poll() is not None, "the second stop")
        made.edit("src/plug.c", "state->calls++;", "*(volatile int *)0 = 1;")
        watch.wait("published")
        made.write("crashing", "")
        process.wait(LIMIT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its shell too
        process.wait()
    said = made.path("output").read_text()
    first, _, second = said.partition("plug.c:8")
    assert "(plug_hello) pending" in first and "libplug.so.1-" in second and "libplug.so.2-" in second, said
    assert re.search(r"#0 +plug_hello .* at .*plug\.c:10$", second, re.M), said
    assert re.search(r"received signal SIGSEGV.*\n(.*\n)*.*plug\.c:10", second), said
    assert watch.wait("crash")["fate"] == "rolled-back"
