"""The commands of ``nudge``, one a module: its options, the call, and what is printed.

Nothing heavy is imported before a command runs, so that ``nudge --help`` and the shell's completion are quick.
"""
