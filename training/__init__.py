"""The training job and what belongs to a trained model. Run it as `python -m training`.

    __main__, commands   the command line; what fits in no room
    survey/              a look at the data before training
    inspection/          schedules, noising, networks and errors, to look at
    conversion/          diffusers' layout and ours
    distillation/        fewer evaluations from a trained network
    run/                 the training run itself
    judging/             how good what a model draws is
    config, sections     a run's TOML file
    architecture         its network
    card                 a model's card for the Hub
    plots                charts in a page
    charts, pages        the look of plots and of HTML
    metrics              a run's figures in a file
    sheets               grids and strips of pictures, as PNG files
    pictures/            training data: found, decoded, cached
    devices, errors      where to compute; what a person can get wrong

Nothing imports what stands above it.
"""
