"""The commands of ``nudge``, one a module: what is asked, what is called for it, and what is said.

Nothing heavy is imported before a command runs, so that ``nudge --help`` and the shell's completion are quick.
"""
