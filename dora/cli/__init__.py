"""The command `dora`. Laptop only.

Nothing is loaded here but what it takes to hand a command over to a standby that has all the rest
loaded (`standby`): most of a short command's time goes into loading.
"""


def main(prog_name: str = "dora") -> None:
    """The program: does what sys.argv says, and ends the process."""
    from dora.cli.standby import client

    client.hand_over(prog_name)  # ends here, unless the command is to run in this process

    from dora.cli import program

    program.run(prog_name)
