"""Runs a command at a terminal and types an answer half a second after it has shown some words.
Prints what the terminal showed.

python3 at_a_terminal.py WORDS ANSWER COMMAND..."""

import os
import pty
import select
import sys
import time

words, answer, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown = b""
seen_at = None
is_typed = False
while True:
    is_waiting = not select.select([terminal], [], [], 0.5)[0]
    if not is_waiting:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if seen_at is None and words.encode() in shown:
            seen_at = time.monotonic()
    is_due = not is_typed and seen_at is not None and time.monotonic() - seen_at >= 0.5
    # A command that waits may have thrown away an answer from before it turned the echo off.
    if is_due or (is_waiting and shown.endswith(words.encode())):
        os.write(terminal, answer.encode())
        is_typed = True
sys.stdout.write(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
