"""The command `emaki`: serve, draw, look, and everything of `python -m training`.

program.py   the command line itself
fields.py    one option for each field of the API
drawing.py   `draw`: into a file or a folder, by a service or by a checkpoint
looking.py   `models` and `show`
running.py   `serve` and `worker`
errors.py    what goes wrong, in one line
"""
