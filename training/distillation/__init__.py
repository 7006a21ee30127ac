"""Teaching a network by another: `distill guidance|consistency|...`.

command         the command line
options         a run's configuration: TOML sections, defaults that depend on the teacher
teacher         a frozen network and its guidance, and what objectives with one share
guidance        guided in one evaluation instead of two
consistency     the picture in one evaluation, or in a few
adversarial     the same judged beside real pictures
critic          who judges
discriminative  a network told apart from what it drew itself
drawings        what it drew
levels          where a consistency model noises its pictures again, found by drawing
tables          a solver's coefficients, learned for one number of steps
learn           the command that learns them
"""
