"""Runs a command at a terminal and types an answer when it asks for a password. Prints what the
terminal showed.

python3 at_a_terminal.py ANSWER COMMAND..."""

import os
import pty
import select
import sys

answer, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown = b""
while True:
    if not select.select([terminal], [], [], 0.5)[0]:
        # It waits. What was typed before it turned the echo off may have been thrown away: typed
        # again.
        if shown.endswith(b"password: "):
            os.write(terminal, answer.encode() + b"\n")
        continue
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
sys.stdout.write(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
