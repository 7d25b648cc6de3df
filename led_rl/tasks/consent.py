"""What the user of a command lets run, given on its command line and nowhere else.

What a model wrote runs nothing, and what a downloaded folder says decides nothing, unless the person at the keyboard
says so now: a folder's config.yaml can name a task whose grader runs programs, and its tokenizer can write those
programs. So consent is never read from a run folder or a file of options, and never recorded there (`led_rl.config`
and `led_rl.run_folder` see to that); the command that made a record is on record itself, and shows it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Consent:
    """What the user of this command lets run; on the command line only.

    Args:
        run_code: run the programs a model writes (livecodebench), in the jail
        recorded_task: let the evaluated folder's config.yaml choose a task that runs foreign graders or programs
        unjailed_scorers: where there is no jail, let reasoning-gym's scorers read a model's text in an ordinary process
    """

    run_code: bool = False
    recorded_task: bool = False
    unjailed_scorers: bool = False
