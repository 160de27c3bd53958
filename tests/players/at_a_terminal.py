"""Runs a command at a terminal and types an answer when it asks for a password. Prints what the terminal showed.

    python3 at_a_terminal.py ANSWER COMMAND..."""

import os
import pty
import sys

answer, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown, typed = b"", False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if not typed and b"password: " in shown:
        os.write(terminal, answer.encode() + b"\n")
        typed = True
sys.stdout.write(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
